"""A finished run judged again: by the proofs of today, from its files; the first verdict stays on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpulab.common.errors import UsageError
from gpulab.plan.machine import this_machine
from gpulab.records.read import read
from gpulab.records.record import RunRecord
from gpulab.reports.listings import show_run
from gpulab.runs.judge import judge
from gpulab.runs.resume import refuse_what_cannot_go_on
from tests.finished_runs import losses
from tests.records import open_run

FALLS = {"proof": "loss falls", "holds": True, "evidence": "4 -> 1"}
FAILS = {"proof": "loss rises", "holds": False, "evidence": "4 -> 1"}


def step(name: str, *proofs: dict[str, Any], **more: Any) -> dict[str, Any]:
    state = "done" if all(proof["holds"] for proof in proofs) else "failed"
    return {"step": name, "state": state, "exit": 0, "proofs": list(proofs), **more}


def finished(state: str, *steps: dict[str, Any], **fields: Any) -> Path:
    """A run of start/tiny with the files of these steps."""
    writer = open_run(**{"steps": list(steps), "machine": this_machine().as_dict(), **fields})
    for each in steps:
        (writer.folder / each["step"]).mkdir()
        (writer.folder / "logs" / f"{each['step']}.log").touch()
    losses(4.0, 3.0, 1.0, step="train")(writer.folder)
    writer.close(state)
    return writer.folder


def test_a_proof_that_was_wrong_is_mended_and_the_run_is_done(runs, write_lab):
    write_lab()
    folder = finished("failed", step("train", FAILS), step("chat"), failures=["train does not prove «loss rises»"])
    judged = judge("last")
    assert (judged.failures, judged.data["state"], judged.data["first"]) == ([], "done", "failed")
    (row,) = judged.data["proofs"]
    assert (row["step"], row["proof"], row["holds"], row["first"]) == ("train", "loss falls", True, None)
    record = read(folder)
    assert (record.state, record.failures, record.step("train").state) == ("done", [], "done")
    assert record.step("train").artefacts[0]["path"] == "logging.jsonl"
    assert record.first_verdict.failures == ["train does not prove «loss rises»"]
    assert record.first_verdict.states == {"train": "failed", "chat": "done"}
    assert "judged again" in (folder / "report.html").read_text()
    assert show_run("last").data["record"]["first_verdict"]["state"] == "failed"


def test_a_stricter_proof_fails_a_run_that_was_done(runs, write_lab):
    write_lab(("proves: [loss falls]", "proves: [loss falls, figure loss reaches 9]"))
    folder = finished("done", step("train", FALLS), step("chat"))
    judged = judge("last")
    assert [(row["holds"], row["first"]) for row in judged.data["proofs"]] == [(True, True), (False, None)]
    assert "train does not prove «figure loss reaches 9»" in judged.failures[0]
    record = read(folder)
    assert (record.state, record.step("train").state) == ("failed", "failed")
    assert (record.first_verdict.state, record.first_verdict.proofs["train"][0].holds) == ("done", True)


def test_the_first_verdict_is_the_one_at_the_end_however_often_it_is_judged(runs, write_lab):
    write_lab()
    folder = finished("failed", step("train", FAILS), step("chat"), failures=["at its end"])
    judge("last")
    write_lab(("proves: [loss falls]", "proves: [figure loss reaches 9]"))
    assert judge("last").failures
    write_lab()
    assert judge("last").data["state"] == "done"
    assert read(folder).first_verdict.failures == ["at its end"]


def test_a_run_that_a_wrong_proof_stopped_can_go_on_after_it(runs, write_lab):
    write_lab()
    folder = finished("failed", step("train", FAILS), failures=["train does not prove «loss rises»"])
    judged = judge("last")
    assert judged.failures == [], "every proof holds"
    record = read(folder)
    assert (record.state, record.failures) == ("failed", ["it went no further than train"])
    assert (record.step("train").state, record.step("train").artefacts[0]["bytes"] > 0) == ("done", True)
    refuse_what_cannot_go_on(record)


def test_why_a_command_broke_stays_as_it_was(runs, write_lab):
    write_lab()
    broken = step("chat", state="failed") | {"exit": 1}
    folder = finished("failed", step("train", FALLS), broken, failures=["chat ended with exit 1"])
    assert judge("last").failures == []
    assert (read(folder).state, read(folder).failures) == ("failed", ["chat ended with exit 1"])


def test_a_resumed_training_has_to_have_gone_on_again(runs, write_lab):
    write_lab()
    taken = {"steps": [], "next": "train", "checkpoint": "checkpoint-7"}
    finished("done", step("train", FALLS), step("chat"), taken_over=taken)
    assert [row["proof"] for row in judge("last").data["proofs"]] == ["loss falls", "went on from its checkpoint"]


def test_a_step_that_needed_more_gpus_than_are_here_is_judged_too(runs, write_lab):
    write_lab(
        ("    proves: [loss falls]", "    proves: [loss falls]\n    gpus: 8"), ("  chat:", "  chat:\n    gpus: 8")
    )
    gpu = {"name": "H100", "vram_gib": 80.0, "free_gib": 80.0, "uuid": "x"}
    machine = {**this_machine().as_dict(), "gpus": [gpu] * 8}
    finished("done", step("train", FALLS), step("chat"), profile="gpu", machine=machine)
    assert [row["step"] for row in judge("last").data["proofs"]] == ["train"]


def goes_on(record: RunRecord) -> None:
    record.state = "detached"


def was_on_hosts(record: RunRecord) -> None:
    record.hosts = ["gpu1"]


def ended_nothing(record: RunRecord) -> None:
    record.steps[0].exit, record.state = 1, "failed"
    del record.steps[1]


def of_another_lab(record: RunRecord) -> None:
    record.lab = "start/gone"


def with_another_step(record: RunRecord) -> None:
    record.only = ["train", "gone"]


@pytest.mark.parametrize(
    ("spoil", "said", "cure"),
    [
        (goes_on, "is detached: it is judged at its end", "./inv watch start-tiny/"),
        (was_on_hosts, "was judged on gpu1, where its files are", "./inv lab start/tiny --rehearse"),
        (ended_nothing, "no step of start-tiny/.* ended", "./inv resume start-tiny/"),
        (of_another_lab, "is of start/gone, which is no lab now", "./inv show start-tiny/"),
        (with_another_step, "start/tiny has no step 'gone'", "known: "),
    ],
)
def test_what_cannot_be_judged_says_so_in_a_line(runs, write_lab, spoil, said, cure):
    from gpulab.records.writer import write

    write_lab()
    folder = finished("done", step("train", FALLS), step("chat"))
    record = read(folder)
    spoil(record)
    write(folder, record)
    with pytest.raises(UsageError, match=said) as caught:
        judge("last")
    assert cure in caught.value.cure
    assert read(folder) == record, "its record is as it was"


@pytest.mark.parametrize("gone", ["train/logging.jsonl", "logs/train.log"])
def test_a_run_whose_files_are_gone_is_not_judged_by_what_is_left(runs, write_lab, gone):
    write_lab()
    made = [{"path": "logging.jsonl", "bytes": 1, "sha256": "x"}]
    folder = finished("done", step("train", FALLS, artefacts=made), step("chat"))
    (folder / gone).unlink()
    with pytest.raises(UsageError, match=f"{gone} is gone, train can't be judged") as caught:
        judge("last")
    assert caught.value.cure == "run it again: ./inv lab start/tiny --rehearse"
    assert read(folder).first_verdict is None
