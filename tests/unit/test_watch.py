"""A run in the terminal as it goes on."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from gpulab.reports import watch
from gpulab.reports.watch import sparkline, view
from tests.records import open_run


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([0, 7], "▁█"),
        ([3, 3], "▁▁"),
        ([], ""),
        ([0, float("nan"), 7], "▁ █"),
        ([0, 0, 7, 7], "▁█"),
        ([float("inf")], " "),
    ],
)
def test_values_as_a_line_of_bars(values: list[float], line: str) -> None:
    assert sparkline(values, most=2 if len(values) == 4 else 40) == line


def running() -> Any:
    """A run in the middle of its training."""
    writer = open_run(steps=[{"step": "train", "log": "logs/train.log"}])
    (writer.folder / "train").mkdir()
    rows = [json.dumps({"loss": loss}) for loss in (3.0, 2.5)]
    (writer.folder / "train/logging.jsonl").write_text("\n".join(rows) + "\n")
    (writer.folder / "logs/train.log").write_text("first\n10%\r20% 训练 [bold]\n")
    return writer


def printed(text: Any) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(text)
    return console.export_text()


def test_it_shows_steps_curves_and_the_logs_last_lines(runs: Any) -> None:
    writer = running()
    text = printed(view(writer.folder, writer.record))
    for said in ("running", "train: loss", "█▁", "2.5", "20% 训练 [bold]"):
        assert said in text
    assert "10%" not in text


def test_a_run_that_did_nothing_yet_is_shown(runs: Any) -> None:
    writer = open_run()
    assert "running" in printed(view(writer.folder, writer.record))


def test_it_watches_until_the_run_has_ended(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, looks = running(), []
    monkeypatch.setattr(watch, "console", Console(file=io.StringIO(), force_terminal=True))

    def look(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            writer.close("done")

    monkeypatch.setattr(watch.time, "sleep", look)
    assert watch.watch("last").data["state"] == "done"
    assert len(looks) == 3


def test_ctrl_c_ends_the_watching_and_not_the_run(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = running()
    monkeypatch.setattr(watch, "console", Console(file=io.StringIO(), force_terminal=True))

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", interrupted)
    assert watch.watch("last").data["state"] == "running"
    assert json.loads((writer.folder / "run.json").read_text())["state"] == "running"
