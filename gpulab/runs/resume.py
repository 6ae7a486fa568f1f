"""`inv resume`: a run that was interrupted, killed or failed goes on in a new one, from its last whole checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rich.markup import escape

from gpulab.common import redact
from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.inside.resume_files import Part, ResumeRequest, Taken
from gpulab.plan.plan import Plan
from gpulab.plan.resume_flags import flags_for
from gpulab.records.read import all_runs, find_run, read, run_name
from gpulab.records.record import GOING, RunRecord, StepRecord
from gpulab.records.writer import write
from gpulab.runs.execute import begin
from gpulab.runs.lab_run import LabRun
from gpulab.runs.spec import RunSpec


def resume(run: str, limit: str = "") -> Outcome:
    """Go on with a run in a new folder: same settings, seed and data position. Raises UsageError where it can't."""
    old = find_run(run)
    before = read(old)
    refuse_what_cannot_go_on(before)
    spec = RunSpec.again(before, f"goes on with {before.run}, which was {before.state}", limit)
    lacks = next(filter(None, (machine.lacks(spec.lab.needs) for machine in spec.machines)), None)
    if spec.profile == "gpu" and lacks:
        raise UsageError(f"{before.run} ran on GPUs: {lacks}", "resume it where they are")

    def note_the_other(going: LabRun) -> None:
        going.record.resumes, before.resumed_by = before.run, going.record.run
        going.writer.save()
        write(old, before)
        for line in what_changed({entry.step: entry for entry in before.steps}, going.session.plan, old):
            console.print(f"  {escape(line)}")

    return carry_on(spec, before, lambda planned: resume_request(old, before, planned), note_the_other)


def carry_on(
    spec: RunSpec, before: RunRecord, requested: Callable[[Plan], ResumeRequest],
    first: Callable[[LabRun], None] = lambda _: None,
) -> Outcome:  # fmt: skip
    """A new run with what is requested of an earlier one. `first`: what else is to be noted before its steps."""
    going = begin(spec, requested)

    def note_what_was_taken() -> None:
        taken, record = going.session.taken, going.record
        entries = {entry.step: entry for entry in before.steps}
        record.steps = [entries[step].model_copy(update={"taken_over_from": before.run}) for step in taken.steps]
        record.taken_over = taken
        going.writer.save()
        first(going)
        for line in what_was_taken(taken):
            console.print(f"  {escape(line)}")

    return going.carry_out(note_what_was_taken)


def refuse_what_cannot_go_on(record: RunRecord) -> None:
    """Raise UsageError for a run that is done, goes on, or was resumed; and for one that only serves."""
    run = record.run
    if record.state == "done":
        raise UsageError(f"{run} is done: there is nothing to go on with", f"./inv show {run}")
    if record.state in GOING:
        raise UsageError(f"{run} is {record.state}: it goes on by itself", f"./inv attach {run}, or first cancel it")
    if (by := record.resumed_by) and by in map(run_name, all_runs()):
        raise UsageError(f"{run} was resumed by {by} already", f"./inv resume {by}, or ./inv show {by}")


def resume_request(old: Path, record: RunRecord, planned: Plan) -> ResumeRequest:
    """What of a run may be taken over. Raises UsageError where its lab only serves."""
    made = {entry.step: entry.artefacts for entry in record.steps if entry.state == "done"}
    steps = [planned.command(step) for step in planned.steps if step in planned.lab.steps]
    parts = tuple(Part(c.step, made.get(c.step), c.world, resumes=bool(flags_for(c, ""))) for c in steps if not c.ready)
    if not parts:
        raise UsageError(f"{record.run} only serves: there is nothing to go on with", f"./inv lab {record.lab}")
    return ResumeRequest(old, planned.run, parts)


def what_changed(entries: Mapping[str, StepRecord], planned: Plan, old: Path) -> list[str]:
    """Of steps that were begun, those whose command is another by now: the lab was changed since."""
    lines = []
    for step, entry in entries.items():
        if step not in planned.steps or entry.url:
            continue
        if in_any_run(entry.argv, old) != in_any_run(redact.argv(planned.command(step).argv), old):
            lines.append(f"{step} is another command than it was: the lab was changed since")
    return lines


def in_any_run(words: Iterable[str], run: Path) -> list[str]:
    """A command's words with RUN for the folder of any run of the lab: steps that were taken over name an older one."""
    return [re.sub(f"{re.escape(str(run.parent))}/[^/]+", "RUN", word) for word in words]


def what_was_taken(taken: Taken) -> list[str]:
    """What is taken over and what not, in lines for people."""
    lines = [f"done already: {', '.join(taken.steps)}"] if taken.steps else []
    lines += [f"{taken.next}/{name} is passed over: {why}" for name, why in taken.torn]
    if taken.lost:
        lines.append(f"{taken.next} is done again: {taken.lost} is gone, or not as it was")
    if taken.checkpoint:
        lines.append(f"{taken.next} goes on from {taken.checkpoint}")
    elif taken.next:
        lines.append(f"{taken.next} starts from its beginning: it has no whole checkpoint")
    return lines
