"""What a resumed run takes over: steps that are done, the last whole checkpoint, the log up to it; and what not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gpulab.common.errors import UsageError
from gpulab.engines.local import LocalBackend
from gpulab.inside.resume_files import Part, ResumeRequest, Taken
from gpulab.lab.lab import load_lab
from gpulab.plan.make import plan
from gpulab.plan.plan import PlanSpec
from gpulab.plan.resume_flags import flags_for, going_on
from gpulab.records.writer import Writer, write
from gpulab.runs.resume import resume, resume_request, what_was_taken
from gpulab.stacks.stack import load_stack
from tests.records import open_run
from tests.unit.test_checkpoints import cut, trainer


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A run whose step `note` is done and whose step `train` broke after step 25, its newest checkpoint torn."""
    folder = tmp_path / "old"
    (folder / "note").mkdir(parents=True)
    (folder / "note" / "note.txt").write_text("seven b")
    for step in (5, 10, 20):
        trainer(folder / "train", step)
    cut("optimizer.pt")(folder / "train" / "checkpoint-20")
    rows = [{"loss": 1.0, "global_step/max_steps": f"{n}/40"} for n in range(1, 26)]
    (folder / "train" / "logging.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def taken(old: Path, note: list[dict[str, Any]] | None) -> Taken:
    parts = (Part("note", note, 1, False), Part("train", None, 1, True), Part("chat", None, 1, False))
    given = ResumeRequest(old, old.with_name("new"), parts)
    return ResumeRequest.from_json(given.to_json()).carry_out()


MADE = [{"path": "note.txt", "bytes": 7}]


def test_a_done_step_is_linked_and_the_broken_one_goes_on_from_its_last_whole_checkpoint(old):
    found, new = taken(old, MADE), old.with_name("new")
    assert (found.steps, found.next, found.checkpoint, found.by) == (["note"], "train", "checkpoint-10", "link")
    assert (old / "note/note.txt").samefile(new / "note/note.txt")
    assert (new / "train/last-checkpoint").resolve().name == "checkpoint-10"
    assert {f.name for f in (new / "train").glob("checkpoint-*")} == {"checkpoint-5", "checkpoint-10"}
    assert len((new / "train/logging.jsonl").read_text().splitlines()) == 10
    assert len((old / "train/logging.jsonl").read_text().splitlines()) == 25, "the old run stays as it was"
    assert what_was_taken(found) == [
        "done already: note",
        "train/checkpoint-20 is passed over: optimizer.pt is torn",
        "train goes on from checkpoint-10",
    ]


def test_where_links_are_not_to_be_had_files_are_copied(old, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert taken(old, MADE).by == "copy"
    assert (old.with_name("new") / "train/checkpoint-10/optimizer.pt").is_file()


def test_a_done_step_whose_files_are_gone_is_done_again(old):
    (old / "note/note.txt").write_text("changed since")
    found = taken(old, MADE)
    assert (found.steps, found.next, found.lost) == ([], "note", "note.txt")
    assert what_was_taken(found)[0] == "note is done again: note.txt is gone, or not as it was"


def test_without_a_whole_checkpoint_the_step_starts_from_its_beginning(old):
    for name in ("checkpoint-5", "checkpoint-10"):
        cut("optimizer.pt")(old / "train" / name)
    found = taken(old, MADE)
    assert found.checkpoint == ""
    assert [name for name, _ in found.torn] == ["checkpoint-20", "checkpoint-10", "checkpoint-5"]
    assert not (old.with_name("new") / "train").exists()
    assert what_was_taken(found)[-1] == "train starts from its beginning: it has no whole checkpoint"


def test_a_command_goes_on_by_its_own_flags_and_has_to_prove_it(tmp_path, write_lab):
    planned = plan(PlanSpec(lab=load_lab(write_lab()), profile="cpu", stack=load_stack("cpu")), tmp_path)
    train, chat = planned.command("train"), planned.command("chat")
    resumed = going_on(train, tmp_path / "checkpoint-7")
    assert resumed.argv == (*train.argv, "--resume_from_checkpoint", str(tmp_path / "checkpoint-7"))
    assert resumed.proves == ("loss falls", "went on from its checkpoint")
    assert flags_for(chat, "x") == {}


def record(**fields: Any) -> Writer:
    made = open_run("start-tiny", **fields)
    made.close(fields.get("state", "failed"))
    return made


@pytest.mark.parametrize(
    ("state", "said", "cure"),
    [
        ("done", "is done: there is nothing to go on with", "./inv show"),
        ("detached", "goes on by itself", "./inv attach"),
    ],
)
def test_a_run_that_needs_no_resuming_says_so(runs, state, said, cure):
    record(state=state)
    with pytest.raises(UsageError, match=said) as caught:
        resume("last")
    assert cure in caught.value.cure


def test_a_run_is_resumed_once_and_names_who_did(runs):
    first, second = record(), record()
    first.record.resumed_by = second.record.run
    write(first.folder, first.record)
    with pytest.raises(UsageError, match="was resumed by start-tiny/") as caught:
        resume(first.record.run)
    assert f"./inv resume {second.record.run}" in caught.value.cure


def serves_only(folder: Path) -> Path:
    text = (folder / "lab.yaml").read_text().partition("steps:")[0]
    serve = "steps:\n  serve:\n    run: swift deploy --model {model} --port {port}\n    ready: {chat: m}\n"
    (folder / "lab.yaml").write_text(f"{text}{serve}rehearse: {{twin: qwen3}}\n")
    return folder


def test_a_resume_that_cannot_be_carried_out_leaves_no_run(runs, write_lab, monkeypatch):
    serves_only(write_lab())
    for name, answer in {"prepare": None, "lacks": None, "described": {}}.items():
        monkeypatch.setattr(LocalBackend, name, lambda *_, answer=answer: answer)
    old = record(ports={"serve": 8000})
    with pytest.raises(UsageError, match="only serves"):
        resume("last")
    assert list((runs / "start-tiny").iterdir()) == [old.folder]
    assert not list((runs / ".active").iterdir())


def test_a_run_that_only_serves_has_nothing_to_go_on_with(runs, tmp_path, write_lab):
    folder = serves_only(write_lab())
    planned = plan(
        PlanSpec(lab=load_lab(folder), profile="cpu", stack=load_stack("cpu"), ports={"serve": 8000}), tmp_path
    )
    with pytest.raises(UsageError, match="only serves"):
        resume_request(tmp_path, record().record, planned)
