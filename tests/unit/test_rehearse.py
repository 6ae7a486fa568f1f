"""`inv rehearse`: which labs and breaks it runs, what counts as passed, and that an interrupt reaches all that run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpulab.common.errors import UsageError
from gpulab.engines.local import LocalBackend
from gpulab.records.record import Proof, StepRecord
from gpulab.runs import rehearse as rehearsing
from gpulab.runs.rehearse import rehearse
from tests.records import open_run
from tests.unit.conftest import WriteLab

LAB = """\
title: Two steps of nothing
upstream: examples/none
curriculum: none
stack: cpu
needs: {}
steps:
  train: {run: swift sft train.yaml --model m, makes: [logging.jsonl], proves: [loss falls]}
breaks:
  - {set: train.learning_rate=0, fails: loss falls}
  - {set: train.lora_rank=1}
rehearse: {}
"""
# Stands in for `inv`: what a lab tells is in a file of its name; without one its caller is asked to end, and it goes on
# until it is asked, too.
INV = """
import os, pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.default_int_handler)
told = pathlib.Path(sys.argv[1], sys.argv[3].replace("/", "-"))
pathlib.Path(sys.argv[1], "words").open("a").write(" ".join(sys.argv[2:]) + " " + os.environ["SHARED"] + "\\n")
if told.exists():
    print(told.read_text())
else:
    try:
        os.kill(os.getppid(), signal.SIGTERM)
        signal.sigtimedwait([], 20)
    except KeyboardInterrupt:
        told.with_suffix(".closed").touch()
"""


@pytest.fixture
def labs(write_lab: WriteLab, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """labs(name=told): labs of those names, and what inv tells of each; the words that it was called with."""
    monkeypatch.setattr(rehearsing, "LABS", tmp_path / "labs")
    monkeypatch.setattr(rehearsing, "INV", (sys.executable, "-c", INV, str(tmp_path)))
    monkeypatch.setattr(LocalBackend, "prepare", lambda _: None)
    monkeypatch.setattr(LocalBackend, "warm_up", lambda _: SimpleNamespace(shared={"SHARED": "1"}, end=lambda: None))

    def write(**told: str) -> Path:
        for name, said in told.items():
            write_lab(name=f"start/{name}", text=LAB)
            if said:
                (tmp_path / f"start-{name}").write_text(said)
        return tmp_path / "words"

    return write


def test_each_lab_is_one_inv_and_one_that_fails_hides_no_other(labs: Any, write_lab: WriteLab) -> None:
    words = labs(bad='{"failures": ["train ended with exit 1"], "run": "r1"}', good='{"failures": [], "run": "r2"}')
    write_lab(name="start/never", text=LAB.replace("rehearse: {}", "rehearse: {impossible: no GPU}"))
    outcome = rehearse("start/", 2, "")
    assert {row["lab"]: row["outcome"] for row in outcome.data["labs"]} == {
        "start/bad": "failed", "start/good": "passed", "start/never": "impossible",
    }  # fmt: skip
    assert (outcome.data["passed"], outcome.data["failed"], outcome.data["impossible"]) == (1, 1, 1)
    assert [str(failure) for failure in outcome.failures] == ["start/bad: train ended with exit 1"]
    assert "lab start/good --rehearse --json 1" in words.read_text().splitlines()


@pytest.mark.parametrize(
    ("exit", "holds", "wrong"),
    [
        (0, False, ""),
        (0, True, "train.learning_rate=0: no proof failed"),
        (1, None, "train.learning_rate=0: train ended with exit 1, so no proof was tried"),
    ],
)
def test_a_break_must_end_by_the_proof_that_it_names(labs: Any, exit: int, holds: bool | None, wrong: str) -> None:
    run = open_run("start-broken")
    proofs = [] if holds is None else [Proof(proof="loss falls", holds=holds, evidence="e")]
    run.record.steps = [StepRecord(step="train", exit=exit, proofs=proofs)]
    run.close("failed")
    words = labs(broken=f'{{"failures": ["a"], "run": "r", "folder": "{run.folder}"}}')
    outcome = rehearse("", 1, "one")
    assert [row["failures"] for row in outcome.data["labs"]] == [[wrong] if wrong else []]
    assert bool(outcome.failures) == bool(wrong)
    said = "lab start/broken --rehearse --json --only train --set train.learning_rate=0 1"
    assert words.read_text().splitlines() == [said], "the first break alone"


@pytest.fixture
def in_the_background() -> Iterator[None]:
    """A shell's `&` and nohup: Ctrl-C is ignored, also by all that is started; SIGTERM is what verb.py makes of it."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.default_int_handler),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("in_the_background")
def test_an_interrupt_reaches_what_runs_and_nothing_more_is_begun(labs: Any, tmp_path: Path) -> None:
    words = labs(a="", b='{"failures": []}')
    with pytest.raises(KeyboardInterrupt):
        rehearse("", 1, "")
    assert (tmp_path / "start-a.closed").exists(), "it was asked to end, and waited for"
    assert len(words.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("pattern", "jobs", "breaks", "message"),
    [("nosuch", 1, "", "no lab has 'nosuch'"), ("", -1, "", "--jobs -1"), ("", 1, "some", "--breaks some")],
)
def test_wrong_usage_is_one_line(labs: Any, pattern: str, jobs: int, breaks: str, message: str) -> None:
    labs(one="{}")
    with pytest.raises(UsageError, match=message):
        rehearse(pattern, jobs, breaks)
