"""`inv resume`: a run that was interrupted, killed or failed goes on in a new one, from its last whole checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from gpulab.common import redact
from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.inside.resume_files import Part, ResumeRequest, Taken
from gpulab.plan.plan import Plan
from gpulab.plan.resume_flags import flags_for
from gpulab.records.record import DETACHED, RUNNING, all_runs, find_run, read, write_atomically
from gpulab.runs.execute import begin
from gpulab.runs.spec import Order


def resume(run: str, limit: str = "") -> Outcome:
    """Go on with a run in a new folder: same settings, seed and data position. Raises UsageError where it can't."""
    old = find_run(run)
    data = read(old)
    refuse_what_cannot_go_on(data)
    order = Order.again(data, f"goes on with {data['run']}, which was {data['state']}", limit)
    lacks = next(filter(None, (machine.lacks(order.lab.needs) for machine in order.machines)), None)
    if order.profile == "gpu" and lacks:
        raise UsageError(f"{data['run']} ran on GPUs: {lacks}", "resume it where they are")
    going = begin(
        order,
        keep_serving=data.get("keep_serving", False),
        handing_over=lambda planned: resume_request(old, data, planned),
    )

    def note_what_was_taken() -> None:
        taken, record = going.session.taken, going.record
        entries = {entry["step"]: entry for entry in data["steps"]}
        record.data["steps"] = [{**entries[step], "taken_over_from": data["run"]} for step in taken.steps]
        record.data |= {"resumes": data["run"], "taken_over": vars(taken)}
        record.save()
        write_atomically(old / "run.json", json.dumps(data | {"resumed_by": record.data["run"]}, indent=1) + "\n")
        for line in [*what_changed(entries, going.session.plan, old), *what_was_taken(taken)]:
            console.print(f"  {escape(line)}")

    return going.carry_out(note_what_was_taken)


def refuse_what_cannot_go_on(data: Mapping[str, Any]) -> None:
    """Raise UsageError for a run that is done, goes on, or was resumed; and for one that only serves."""
    run = data["run"]
    if data["state"] == "done":
        raise UsageError(f"{run} is done: there is nothing to go on with", f"./inv show {run}")
    if data["state"] in (RUNNING, DETACHED):
        raise UsageError(f"{run} is {data['state']}: it goes on by itself", f"./inv attach {run}, or first cancel it")
    if (by := data.get("resumed_by")) in {f"{f.parent.name}/{f.name}" for f in all_runs()}:
        raise UsageError(f"{run} was resumed by {by} already", f"./inv resume {by}, or ./inv show {by}")


def resume_request(old: Path, data: Mapping[str, Any], planned: Plan) -> ResumeRequest:
    """What of a run may be taken over. Raises UsageError where its lab only serves."""
    made = {entry["step"]: entry.get("artefacts", []) for entry in data["steps"] if entry["state"] == "done"}
    steps = [planned.command(step) for step in planned.steps if step in planned.lab.steps]
    parts = tuple(Part(c.step, made.get(c.step), c.world, resumes=bool(flags_for(c, ""))) for c in steps if not c.ready)
    if not parts:
        raise UsageError(f"{data['run']} only serves: there is nothing to go on with", f"./inv lab {data['lab']}")
    return ResumeRequest(old, planned.run, parts)


def what_changed(entries: Mapping[str, dict[str, Any]], planned: Plan, old: Path) -> list[str]:
    """Of steps that were begun, those whose command is another by now: the lab was changed since."""
    lines = []
    for step, entry in entries.items():
        if step not in planned.steps or "url" in entry:
            continue
        before = [word.replace(str(old), str(planned.run)) for word in entry["argv"]]
        if "resumes" not in entry and before != redact.argv(planned.command(step).argv):
            lines.append(f"{step} is another command than it was: the lab was changed since")
    return lines


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
