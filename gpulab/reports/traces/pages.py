"""The pages of a traced run: a folder `trace` in it, with one page and one tree of calls for each step."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from gpulab.common.files import write_atomically
from gpulab.lab import flags
from gpulab.records.record import StepRecord
from gpulab.reports.traces import paths
from gpulab.reports.traces.boxes import Box, main_line
from gpulab.reports.traces.chart import flow_chart, table
from gpulab.reports.traces.read import Call, Trace

FOLDED = 0.001  # seconds: what took less is left out of the tree, with all that it called
NOTE = (
    "Traced in a rehearsal, with the versions of its stack. Files are below `site-packages`, or in the lab's folder; "
    "a number of seconds is all calls together."
)


def step_page(title: str, step: StepRecord, trace: Trace, boxes: list[Box]) -> str:
    """The page of one step."""
    given = flags.read(step.argv, Path(step.cwd))
    parts = [
        f"# {title}: {step.step}", NOTE, f"```\n{shlex.join(step.argv)}\n```",
        "## Main line", flow_chart(boxes, timed=True), table(boxes, timed=True),
        "## Code paths", "The flags of this step.", paths.table(trace, given),
        f"## Calls\nThe whole tree is `{step.step}.calls.txt`.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def tree(trace: Trace) -> str:
    """All calls by who called them, each with its time."""
    head = "seconds    calls  function  file:line\n"
    return head + "".join(line for root in trace.roots for line in _branch(root, 0))


def _branch(call: Call, depth: int) -> Iterator[str]:
    if depth and call.calls and call.seconds < FOLDED:
        return
    yield f"{call.seconds:7.3f} {call.calls:8}  {'  ' * depth}{call.name}  {call.place}\n"
    for below in call.below:
        yield from _branch(below, depth + 1)


def write_pages(folder: Path, title: str, step: StepRecord, trace: Trace) -> Path:
    """Write a step's page and tree; the page's path."""
    page = folder / f"{step.step}.md"
    write_atomically(page, step_page(title, step, trace, main_line(trace)))
    write_atomically(folder / f"{step.step}.calls.txt", tree(trace))
    return page
