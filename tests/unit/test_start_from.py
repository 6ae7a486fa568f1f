"""`inv lab --from STEP`: steps of the last run are kept, unless they would be other ones today."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.records.read import all_runs, read
from gpulab.records.record import RunRecord
from gpulab.records.writer import write
from gpulab.runs.dry import dry
from gpulab.runs.execute import run_lab
from gpulab.runs.request import LabRequest
from gpulab.runs.start_from import start_from
from tests.unit.conftest import WriteLab

LAB = """\
title: A file and its copies
upstream: examples/none
curriculum: none
stack: cpu
needs: {}
steps:
  first:
    run: /usr/bin/install note.txt {out}/made.txt --mode 600
    makes: [made.txt]
  second:
    run: /usr/bin/install {first}/made.txt {out}/made.txt --mode 600
    makes: [made.txt]
  third:
    run: /usr/bin/install {second}/made.txt {out}/made.txt --mode 600
    makes: [made.txt]
rehearse: {}
"""


@pytest.fixture
def lab(write_lab: WriteLab, runs: Path, no_stack: None) -> Path:
    """The lab's folder; it ran once."""
    folder = write_lab(text=LAB)
    (folder / "note.txt").write_text("old")
    os.utime(folder / "note.txt", (0, 0))
    assert run_lab(request()).code == 0
    return folder


def request(**more: object) -> LabRequest:
    return LabRequest("tiny", rehearse=True, **more)  # type: ignore[arg-type]


def refused(start: str, **more: object) -> tuple[str, str]:
    """How a start from a step is refused, and the cure; no run is left of it."""
    before = all_runs()
    with pytest.raises(UsageError) as caught:
        start_from(request(start=start, **more))
    assert all_runs() == before
    return caught.value.message, caught.value.cure


def test_what_is_before_the_step_is_kept_and_the_rest_is_run_again(lab):
    (old,) = all_runs()
    (old / "first/made.txt").write_text("its")  # as long as it was: a step that is run again would make "old"
    entry = read(old)
    outcome = start_from(request(start="second", settings=["third.mode=640"]))
    assert outcome.code == 0
    new = all_runs()[-1]
    assert (old / "first/made.txt").samefile(new / "first/made.txt")
    assert [(new / step / "made.txt").read_text() for step in ("second", "third")] == ["its", "its"]
    record = read(new)
    assert [step.taken_over_from for step in record.steps] == [entry.run, None, None]
    assert (record.state, record.settings) == ("done", {"third": {"mode": "640"}})
    assert f"keeps first of {entry.run}" in record.why
    assert (record.resumes, read(old).resumed_by) == (None, None), "the old run is done, it was not resumed"


def test_steps_may_be_kept_of_a_run_that_kept_them_itself(lab):
    assert start_from(request(start="second")).code == 0
    assert start_from(request(start="third")).code == 0
    assert [bool(step.taken_over_from) for step in read(all_runs()[-1]).steps] == [True, True, False]


def test_a_kept_step_whose_files_are_gone_is_done_again(lab):
    (all_runs()[-1] / "first/made.txt").unlink()
    assert start_from(request(start="third")).code == 0
    assert [step.taken_over_from for step in read(all_runs()[-1]).steps] == [None, None, None]


def other_setting(lab: Path) -> None:
    assert run_lab(request(settings=["first.mode=640"])).code == 0


def other_line(lab: Path) -> None:
    (lab / "lab.yaml").write_text(LAB.replace("note.txt", "--verbose note.txt", 1))


def other_environment(lab: Path) -> None:
    first = "    makes: [made.txt]\n  second"
    (lab / "lab.yaml").write_text(LAB.replace(first, "    env: {DEPTH: '3'}\n" + first))


def other_file(lab: Path) -> None:
    soon = time.time() + 9
    os.utime(lab / "note.txt", (soon, soon))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_setting, "it had --mode 640, now --mode 600"),
        (other_line, "it had no --verbose, now --verbose note.txt"),
        (other_environment, "it had DEPTH=, now 3"),
        (other_file, "note.txt was changed since"),
    ],
)
def test_a_step_that_would_be_another_is_refused_and_what_differs_is_named(lab, change, told):
    change(lab)
    said, cure = refused("second")
    assert f"first of {read(all_runs()[-1]).run} can't be kept" in said
    assert told in said
    assert "leave --from out" in cure


def test_a_step_that_was_not_asked_for_a_proof_is_to_be_judged_first(lab):
    first = "    makes: [made.txt]\n  second"
    (lab / "lab.yaml").write_text(LAB.replace(first, "    proves: [loss falls]\n" + first))
    said, cure = refused("second")
    assert said.endswith("was not asked for «loss falls»")
    assert cure.startswith(f"./inv judge {read(all_runs()[-1]).run}")


def another_lock(record: RunRecord) -> None:
    record.stack["lock"] = "0123"


def a_gpu(record: RunRecord) -> None:
    record.profile = "gpu"


def on_hosts(record: RunRecord) -> None:
    record.engine, record.hosts = "docker", ["gpu1"]


def broke(record: RunRecord) -> None:
    record.step("first").state = "failed"  # type: ignore[union-attr]


def goes_on(record: RunRecord) -> None:
    record.state = "detached"


@pytest.mark.parametrize(
    ("change", "told", "cured"),
    [
        (another_lock, "ran otherwise: stack cpu 0123, now cpu ", "ask for the same"),
        (a_gpu, "ran otherwise: profile gpu, now cpu", "ask for the same"),
        (on_hosts, "engine docker, now local; hosts gpu1, now none", "ask for the same"),
        (broke, "first was failed in tiny", "--from first"),
        (goes_on, "is detached", "./inv watch"),
    ],
)
def test_a_run_that_is_not_of_the_same_kind_is_refused(lab, change, told, cured):
    record = read(all_runs()[-1])
    change(record)
    write(all_runs()[-1], record)
    said, cure = refused("second")
    assert told.replace("tiny", record.run) in said
    assert cured in cure


@pytest.mark.parametrize(
    ("step", "told", "cured"),
    [
        ("secnd", "--from secnd: start/tiny has no such step", "did you mean second?"),
        ("first", "--from first: no step before it could be kept", "leave --from out"),
    ],
)
def test_a_step_that_nothing_is_kept_for_is_refused(lab, step, told, cured):
    assert refused(step) == (told, cured)


def test_a_step_that_the_last_run_left_out_can_not_be_kept(lab):
    assert run_lab(request(only="first")).code == 0
    said, cure = refused("third")
    assert "second was not run in" in said
    assert cure == "--from second, or leave it out"
    assert start_from(request(start="second")).code == 0


def test_without_a_run_there_is_nothing_to_keep(write_lab, runs):
    (write_lab(text=LAB) / "note.txt").touch()
    assert refused("second")[0] == "start/tiny has no run to keep steps of"


def test_a_plan_that_runs_by_itself_has_all_steps(lab):
    with pytest.raises(UsageError, match="--dry shows a plan that runs by itself"):
        dry(request(start="second"))
