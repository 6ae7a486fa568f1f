"""`inv trace`: a lab's rehearsal with every step traced, the pages of it, and where two of them part."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure
from gpulab.common.files import write_atomically
from gpulab.common.listing import lines
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.lab import flags
from gpulab.lab.lab import Lab
from gpulab.plan.plan import TRACES
from gpulab.records.read import read
from gpulab.records.record import StepRecord
from gpulab.reports.traces.boxes import Box, main_line, shortened
from gpulab.reports.traces.pages import write_pages
from gpulab.reports.traces.part import beside, page, partings
from gpulab.reports.traces.read import Trace, read_trace
from gpulab.runs.execute import run_lab
from gpulab.runs.request import LabRequest
from gpulab.runs.resolve import resolve

TRAINS = ("sft", "pt", "rlhf")
COMPARED = "compared.md"
WIDE = 120  # columns of a terminal that has room for a function beside its place
SHOWN = 15  # functions that call different ones


@dataclass(frozen=True)
class Traced:
    """A step that left a trace."""

    lab: str
    step: StepRecord
    trace: Trace
    page: Path

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"{self.lab}:{self.step.step}"

    @property
    def boxes(self) -> list[Box]:
        """Its main line."""
        return main_line(self.trace)


def trace(name: str, beside: str, only: str, settings: Sequence[str]) -> Outcome:
    """Trace a lab's rehearsal; with `beside` another one's too, and where they part. LAB:STEP is one step of a lab."""
    requests = [asked(word, only, settings, main_alone=bool(beside)) for word in (name, beside) if word]
    for request in requests:
        refuse_untraceable(request)
        resolve(request)
    outcomes = [run_lab(request) for request in requests]
    found = [pages(Path(outcome.data["folder"])) for outcome in outcomes]
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    for request, outcome, steps in zip(requests, outcomes, found, strict=True):
        if not steps and not outcome.failures:
            failures.append(Failure(f"nothing of ms-swift ran in {request.name}", "name a step that runs it: --only"))
    parts: list[Any] = [outcome.text for outcome in outcomes if outcome.text is not None]
    written = [step.page for steps in found for step in steps]
    if beside and all(found):
        left, right = (main_of(steps, request) for steps, request in zip(found, requests, strict=True))
        written.append(compare(left, right))
        parts.append(parted(left, right))
    else:
        parts += [drawn(main_of(steps, request)) for steps, request in zip(found, requests, strict=True) if steps]
    parts += [Text(f"written: {shown(path)}", style="dim") for path in written]
    data: dict[str, Any] = {"runs": [outcome.data["run"] for outcome in outcomes], "pages": written}
    data |= {"main_line": {step.name: told(step) for steps in found for step in steps}}
    code = max((outcome.code or 0 for outcome in outcomes), default=0)
    return Outcome(data, failures, Group(*parts), code=code or None)


def asked(word: str, only: str, settings: Sequence[str], *, main_alone: bool) -> LabRequest:
    """What one of the words asks for. Two labs that are compared are traced where they are: in what they train."""
    name, _, step = word.partition(":")
    request = LabRequest(name=name, only=step or only, settings=settings, rehearse=True, traced=True)
    if main_alone and not request.only:
        main = main_step(request.lab())
        request = LabRequest(name=name, only=main, settings=settings, rehearse=True, traced=True)
    return request


def main_step(lab: Lab) -> str:
    """The step that stands for a lab."""
    names = list(lab.steps)
    at = standing([step.argv for step in lab.steps.values()])
    return "" if at is None else names[at]


def standing(commands: Sequence[Sequence[str]]) -> int | None:
    """Which of several steps' commands stands for all: the first that trains, else the first of ms-swift's."""
    own = [(at, command) for at, argv in enumerate(commands) if (command := flags.command(argv))]
    training = [at for at, command in own if command.split()[1] in TRAINS]
    return next(iter([*training, *(at for at, _ in own)]), None)


def refuse_untraceable(request: LabRequest) -> None:
    """Raises UsageError where a step that is asked for can't be rehearsed. Of a whole lab, resolve says so."""
    lab = request.lab()
    why = {name: lab.rehearse.of(name).impossible for name in lab.steps}
    for name in request.only.split(",") if request.only else []:
        named = lab.called(name)
        if all(why[step] for step in named):
            can = ", ".join(step for step in lab.steps if not why[step])
            reason = f"{named[0]} can't be rehearsed, so it can't be traced: {why[named[0]]}"
            raise UsageError(f"{lab.name}: {reason}", f"one of {can}")


def pages(folder: Path) -> list[Traced]:
    """Write the pages of a run's steps, and say which have one."""
    record, found = read(folder), []
    for step in record.steps:
        if seen := read_trace(folder / TRACES / step.step):
            written = write_pages(folder / TRACES, record.lab, step, seen)
            found.append(Traced(record.lab, step, seen, written))
    return found


def main_of(steps: Sequence[Traced], request: LabRequest) -> Traced:
    """The step that stands for a run: of those that were asked for, without what they refer to."""
    lab = request.lab()
    named = {step for name in request.only.split(",") if request.only for step in lab.called(name)}
    asked_for = [step for step in steps if step.step.step in named] or steps
    return asked_for[standing([step.step.argv for step in asked_for]) or 0]


def told(step: Traced) -> list[dict[str, str]]:
    """A main line as data."""
    return [
        {"stage": b.stage, "what": b.station.en, "function": b.call.name, "place": b.call.place} for b in step.boxes
    ]


def drawn(step: Traced) -> Any:
    """A main line as the terminal shows it: on a narrow one the place is below its function."""
    table = lines("", "stage", "function", "where", "seconds")
    if console.width < WIDE:
        table = lines("", "stage", "function, where", "seconds")
    for number, box in enumerate(shortened(step.boxes), 1):
        both = (Text(box.call.name), Text(box.call.place))
        where = both if console.width >= WIDE else (Text("\n").join(both),)
        table.add_row(str(number), box.stage, *where, f"{box.seconds:.1f}")
    return Group(Text(step.name, style="bold"), table)


def parted(left: Traced, right: Traced) -> Any:
    """Where two part, as a difference of texts is shown: - the left one alone, + the right one alone."""
    text = Text()
    text.append(f"- {left.name}\n", style="red").append(f"+ {right.name}\n", style="green")
    rows = partings(left.trace, right.trace)
    for row in rows[:SHOWN]:
        text.append(f"{row.function[1]}  {row.function[0]}\n")
        for sign, style, calls in (("-", "red", row.left), ("+", "green", row.right)):
            for name, place in calls:
                text.append(f"{sign} {name}  {place}\n", style=style)
    if not rows:
        text.append("All functions of ms-swift call the same ones in both; they differ in what they are given.")
    if len(rows) > SHOWN:
        text.append(f"{len(rows) - SHOWN} more functions call different ones, see the page")
    return text


def compare(left: Traced, right: Traced) -> Path:
    """Write where two part, into the second one's folder."""
    names = (left.name, right.name)
    commands = (shlex.join(left.step.argv), shlex.join(right.step.argv))
    path = right.page.with_name(COMPARED)
    pairs = beside(left.boxes, right.boxes)
    write_atomically(path, page(names, commands, (left.trace, right.trace), pairs))
    return path
