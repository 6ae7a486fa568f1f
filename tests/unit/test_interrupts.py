"""Ctrl-C at any moment of a run: the record is closed, and no step of it still says that it runs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gpulab.engines.local import LocalBackend
from gpulab.engines.session import StepSession
from gpulab.records.read import read
from gpulab.records.record import RunRecord
from gpulab.runs import execute
from gpulab.runs.lab_run import told
from gpulab.runs.request import LabRequest
from tests.unit.conftest import WriteLab

LAB = """\
title: Two steps of nothing
upstream: examples/none
curriculum: none
stack: cpu
needs: {}
steps:
  first:
    run: /bin/true
  second:
    run: /bin/true
rehearse: {}
"""
RunLab = Callable[[], RunRecord]


@pytest.fixture
def run_lab(write_lab: WriteLab, runs: Path, no_stack: None, monkeypatch: pytest.MonkeyPatch) -> RunLab:
    """Run two steps of nothing without a stack; the record that is left."""
    write_lab(text=LAB)
    monkeypatch.setattr("gpulab.runs.spec.git_state", dict)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run() -> RunRecord:
        known = set(runs.glob("*/*/run.json"))
        execute.run_lab(LabRequest("tiny", rehearse=True))
        assert {number: signal.getsignal(number) for number in before} == before
        (new,) = set(runs.glob("*/*/run.json")) - known
        return read(new.parent)

    return run


def at_line(wanted: int) -> Callable[[], int]:
    """Ctrl-C when the steps' own code comes to its so manyth line; how many lines there were in all."""
    seen = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == wanted:
                signal.raise_signal(signal.SIGINT)
        return count

    steps = execute.LabRun._steps.__code__
    sys.settrace(lambda frame, *_: count if frame.f_code is steps else None)
    return lambda: seen


def test_no_step_is_left_running_wherever_the_interrupt_comes(run_lab: RunLab) -> None:
    def record(line: int) -> tuple[RunRecord, int]:
        passed = at_line(line)
        try:
            return run_lab(), passed()
        finally:
            sys.settrace(None)

    whole, lines = record(0)
    assert [step.state for step in whole.steps] == ["done", "done"]
    for line in range(1, lines + 1):
        left, _ = record(line)
        assert left.state == "interrupted"
        assert not [s for s in left.steps if s.state == "running" or not s.ended], f"at line {line}"


def test_a_second_interrupt_while_the_record_is_closed_does_nothing(
    run_lab: RunLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: StepSession, step: str) -> None:
        raise KeyboardInterrupt

    def again(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(StepSession, "carry_out", interrupted)
    monkeypatch.setattr(LocalBackend, "sweep", again)
    monkeypatch.setattr("gpulab.reports.report.write_report", again)
    record = run_lab()
    assert (record.state, record.failures) == ("interrupted", ["interrupted"])
    assert [str(failure) for failure in told(record)] == [f"interrupted (cure: ./inv resume {record.run})"]
    assert [step.state for step in record.steps] == ["interrupted"]


def test_a_mistake_of_the_labs_own_leaves_no_step_running(
    run_lab: RunLab, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: StepSession, step: str) -> None:
        raise KeyError("MASTER_PORT")

    monkeypatch.setattr(StepSession, "carry_out", broken)
    with pytest.raises(KeyError):
        run_lab()
    (record,) = (read(file.parent) for file in runs.glob("*/*/run.json"))
    assert [step.state for step in record.steps] == ["failed"]


@pytest.mark.parametrize("ended", ["done", "interrupted"])
def test_a_run_leaves_a_page_that_says_how_it_ended(
    run_lab: RunLab, runs: Path, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    def interrupted(self: StepSession, step: str) -> None:
        raise KeyboardInterrupt

    if ended == "interrupted":
        monkeypatch.setattr(StepSession, "carry_out", interrupted)
    assert run_lab().state == ended
    (page,) = runs.glob("*/*/report.html")
    assert f">{ended}</span>" in page.read_text() and "when this page was made" not in page.read_text()
