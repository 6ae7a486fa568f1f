"""`inv runs` and `inv labs`: one record that can't be read is a row of its own, and nothing else suffers."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gpulab.common.errors import UsageError
from gpulab.records.read import read
from gpulab.records.record import Proof, StepRecord
from gpulab.reports import labs, listings
from gpulab.runs.recover import sweep
from tests.records import killed, open_run

BAD = {
    "truncated": b'{"schema_version": 2, "run": "start-tiny/2026',
    "empty": b"",
    "foreign": b"[1, 2]",
    "foreign object": b'{"name": "x"}',
    "no text": b"\xff\xfe\x00",
    "deeply nested": b"[" * 200_000,
    "of a later version": b'{"schema_version": 99}',
    "steps of another kind": b'{"schema": 1, "run": "a/b", "steps": 7}',
    "steps of steps of another kind": b'{"schema": 1, "run": "a/b", "steps": [7]}',
    "a folder": None,
    "a pipe": b"",
}


def spoil(folder: Path, kind: str) -> None:
    record = folder / "run.json"
    record.unlink()
    if kind == "a pipe":
        os.mkfifo(record)
    elif (content := BAD[kind]) is None:
        record.mkdir()
    else:
        record.write_bytes(content)


@pytest.mark.parametrize("kind", BAD)
def test_a_record_that_cannot_be_read_is_one_row_and_hides_no_other(runs, write_lab, kind):
    write_lab()
    good, bad = open_run("serve-api"), open_run("start-tiny")
    good.close("done")
    bad.close("done")
    spoil(bad.folder, kind)
    rows = {row["run"]: row for row in listings.list_runs("", 20).data["runs"]}
    assert rows[good.record.run]["state"] == "done"
    spoilt = rows[f"start-tiny/{bad.folder.name}"]
    assert spoilt["state"] == "unreadable"
    assert "run.json can't be read: " in spoilt["failures"][0]
    (lab,) = labs.list_labs().data["labs"]
    assert lab["last"]["state"] == "unreadable"
    with pytest.raises(UsageError, match="can't be read"):
        listings.show_run("start-tiny")


@pytest.mark.parametrize("kind", BAD)
def test_a_stale_mark_of_such_a_run_stops_no_verb_and_is_said_once(runs, kind):
    folder = killed(open_run("start-tiny"))
    spoil(folder, kind)
    (line,) = sweep()
    assert "its inv was killed" in line
    assert "can't be read" in line
    assert sweep() == []


def test_a_mark_of_a_run_that_is_gone_is_taken_away(runs):
    mark = runs / ".active" / "start-tiny@gone.lock"
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert len(sweep()) == 1
    assert not mark.exists()


def test_no_more_records_are_opened_than_are_shown(runs, write_lab, monkeypatch):
    write_lab()
    for _ in range(5):
        open_run("start-tiny").close("done")
    opened = []
    monkeypatch.setattr(listings, "read", lambda folder: opened.append(folder) or read(folder))
    assert len(listings.list_runs("", 2).data["runs"]) == len(opened) == 2
    opened.clear()
    labs.list_labs()
    assert len(opened) == 1
    with pytest.raises(UsageError, match="--limit -1"):
        listings.list_runs("", -1)


@pytest.mark.parametrize(("columns", "told"), [(80, False), (140, True)])
def test_a_narrow_terminal_keeps_a_line_for_each_run(runs, monkeypatch, columns, told):
    failing = open_run("start-tiny")
    failing.record.failures.append("train does not prove «loss falls»: loss 2.1 -> 2.2 over 16 logged steps")
    failing.close("failed")
    printed = shown_in(columns, lambda: listings.list_runs("", 20).text, monkeypatch)
    assert [line for line in printed if len(line.rstrip()) > columns] == []
    (row,) = [at for at, line in enumerate(printed) if "failed" in line and failing.record.run in line]
    assert "./inv show RUN" in printed[-1]
    assert ("loss falls" in printed[row]) is told


def test_a_run_is_shown_from_what_it_did_to_why_it_failed(runs, monkeypatch):
    proof = Proof(proof="loss falls", holds=False, evidence="loss 2.1 -> 2.2")
    failing = open_run("start-tiny", steps=[StepRecord(step="train", state="failed", proofs=[proof])])
    failing.record.failures.append("train does not prove «loss falls»")
    failing.close("failed")
    printed = "\n".join(shown_in(80, lambda: listings.show_run("start-tiny").text, monkeypatch))
    order = ["peak RSS", "holds", "train does not prove", "reproduce: bash"]
    assert sorted(order, key=printed.index) == order
    assert "./inv show" not in printed


def test_the_runs_of_no_lab_name_no_lab_to_run(runs, write_lab):
    write_lab()
    with pytest.raises(UsageError, match="no lab 'nothing'"):
        listings.list_runs("nothing", 20)
    with pytest.raises(UsageError, match="no runs of start/tiny") as error:
        listings.list_runs("tiny", 20)
    assert error.value.cure == "./inv lab start/tiny"


def shown_in(columns: int, text: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a terminal of that width gets."""
    terminal = Console(width=columns, file=io.StringIO(), soft_wrap=True)
    monkeypatch.setattr(listings, "console", terminal)
    terminal.print(text())
    return terminal.file.getvalue().splitlines()


def test_a_record_of_the_first_version_is_read_with_all_that_it_says(runs):
    writer = open_run("start-tiny", steps=[{"step": "train", "state": "done", "exit": 0, "seconds": 2.5}])
    writer.close("done")
    old = json.loads((writer.folder / "run.json").read_text())
    for later in ("schema_version", "hosts", "inventory", "only", "nodes", "keep_serving", "requeue"):
        del old[later]
    old |= {"schema": 1, "steps": [{**old["steps"][0], "exit": None, "url": None, "of_an_engine": 1}]}
    (writer.folder / "run.json").write_text(json.dumps(old))
    record = read(writer.folder)
    assert (record.schema_version, record.state, record.nodes, record.hosts) == (3, "done", 1, [])
    assert (record.steps[0].step, record.seconds) == ("train", 2.5)
    assert listings.list_runs("", 20).data["runs"][0]["seconds"] == 2.5


def test_only_its_owner_reads_a_record(runs):
    assert (open_run().folder / "run.json").stat().st_mode & 0o777 == 0o600
