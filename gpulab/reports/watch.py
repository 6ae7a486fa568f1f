"""`inv watch`: a run in the terminal as it goes on: steps, curves, what it uses, the log's last lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gpulab.common.causes import tail
from gpulab.common.console import console
from gpulab.common.listing import lines
from gpulab.common.outcome import Outcome
from gpulab.records.read import find_run, read
from gpulab.records.record import GOING, RunRecord
from gpulab.reports.series import Curve, resources, training
from gpulab.reports.summary import figures, state_text

LEVELS = "▁▂▃▄▅▆▇█"
POINTS = 40  # letters of a curve
FIGURES = 6  # that are shown: the loss, the lab's own, then others
LINES = 10  # of the log
EACH = 1.0  # seconds between two looks


def watch(run: str) -> Outcome:
    """Show a run until it ends, or Ctrl-C, which leaves the run alone; one that has ended is shown once."""
    folder = find_run(run)
    record = read(folder)
    if console.is_terminal and record.state in GOING:
        with Live(view(folder, record), console=console, auto_refresh=False, transient=True) as live:
            try:
                while record.state in GOING:
                    time.sleep(EACH)
                    record = read(folder)
                    live.update(view(folder, record), refresh=True)
            except KeyboardInterrupt:
                pass  # it is the watching that ends
    return Outcome({"run": record.run, "state": record.state}, text=view(folder, record))


def view(folder: Path, record: RunRecord) -> Group:
    """How the run stands: at most a screen."""
    steps = lines("step", "state", "seconds", "figures", wraps="figures")
    for step in record.steps:
        steps.add_row(step.step, state_text(step.state), f"{step.seconds:.0f}", figures(step.metrics))
    curves = lines("", "", "first", "last")
    for name, drawn in list(training(folder, record).items())[:FIGURES]:
        for curve in drawn[-1:]:  # of the step that trained last
            _add(curves, f"{curve.label}: {name}", curve)
    for unit, used in resources(folder)[0].items():
        for curve in used:
            _add(curves, f"{curve.label}, {unit}", curve)
    title = Text.assemble((record.run, "bold"), f"  {record.profile}  ", state_text(record.state))
    return Group(title, steps, curves, *_log(folder, record))


def _add(table: Table, name: str, curve: Curve) -> None:
    table.add_row(name, Text(sparkline(curve.y), "cyan"), f"{curve.y[0]:.4g}", f"{curve.y[-1]:.4g}")


def sparkline(values: Sequence[float], most: int = POINTS) -> str:
    """Values as a line of bars, from their lowest to their highest; of many each bar is the mean of its stretch. What
    is no number leaves a gap."""
    size = -(-len(values) // most) or 1
    means = [sum(part) / len(part) for at in range(0, len(values), size) if (part := values[at : at + size])]
    finite = [mean for mean in means if abs(mean) < float("inf")]
    low = min(finite, default=0.0)
    span = max(finite, default=0.0) - low
    top = len(LEVELS) - 1
    return "".join(
        LEVELS[round((mean - low) / span * top) if span else 0] if abs(mean) < float("inf") else " " for mean in means
    )


def _log(folder: Path, record: RunRecord) -> list[Text]:
    """The last lines of the last step's log."""
    step = record.steps[-1] if record.steps else None
    if not step or not step.log:
        return []
    last = tail(folder / step.log, LINES)
    shown = [Text.from_ansi(line, style="dim", no_wrap=True, overflow="ellipsis") for line in last]
    return [Text(step.log, "bold"), *shown]
