"""`inv lab --from STEP`: the steps before it are those of the lab's last run, where they would be the same today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from gpulab.common import redact
from gpulab.common.errors import UsageError, nearest
from gpulab.common.outcome import Outcome
from gpulab.inside.resume_files import Part, ResumeRequest, Taken
from gpulab.lab import flags
from gpulab.plan.plan import Command, Plan
from gpulab.plan.resume_flags import carried_out
from gpulab.records.read import all_runs, read
from gpulab.records.record import GOING, RunRecord, StepRecord
from gpulab.reports.differences import flags as flags_of
from gpulab.runs.execute import tell_ports
from gpulab.runs.request import LabRequest
from gpulab.runs.resolve import resolve
from gpulab.runs.resume import carry_on, in_any_run
from gpulab.runs.spec import RunSpec

OF_THE_MOMENT = ("MASTER_PORT", "CUDA_VISIBLE_DEVICES")  # what was free when the run began


def start_from(request: LabRequest) -> Outcome:
    """Run a lab from a step on. Raises UsageError where what is before it was not done, or would be another today."""
    spec = resolve(request)
    start = the_step(spec, request.start)
    old, before = last_run(spec)
    refuse_another_place(spec, before)
    planned = spec.plan(old, {**spec.ports, **before.ports})
    kept = the_steps_before(planned, start)
    for command in kept:
        refuse_another_step(planned, before, command)
    tell_ports(spec)
    parts = tuple(Part(c.step, entry_of(before, c.step).artefacts, c.world, resumes=False) for c in kept)
    spec = replace(spec, why=f"{spec.why}; keeps {', '.join(c.step for c in kept)} of {before.run}")
    return carry_on(spec, before, lambda planned: ResumeRequest(old, planned.run, parts))


def the_step(spec: RunSpec, name: str) -> str:
    """The step to start at; a case's name is its first. Raises UsageError for an unknown one."""
    called = spec.lab.called(name)
    if not called:
        raise UsageError(f"--from {name}: {spec.lab.name} has no such step", nearest(name, spec.lab.names))
    return min(called, key=list(spec.lab.steps).index)


def last_run(spec: RunSpec) -> tuple[Path, RunRecord]:
    """The last run of a lab. Raises UsageError where there is none, or it goes on."""
    found = all_runs(spec.lab.slug)
    if not found:
        raise UsageError(f"{spec.lab.name} has no run to keep steps of", "leave --from out")
    record = read(found[-1])
    if record.state in GOING:
        raise UsageError(f"{record.run} is {record.state}", f"wait for its end: ./inv watch {record.run}")
    return found[-1], record


def refuse_another_place(spec: RunSpec, before: RunRecord) -> None:
    """Raise UsageError where the run's files are not such as this run would make, or not where it would make them."""
    stack = spec.stack
    sides = {
        "profile": (before.profile, spec.profile),
        "engine": (before.engine, spec.engine.name),
        "hosts": (", ".join(before.hosts) or "none", ", ".join(n.host.name for n in spec.compute_nodes) or "none"),
        "nodes": (str(before.nodes), str(spec.nodes)),
        "hub": (before.hub, spec.hub),
        "stack": (f"{before.stack.get('name')} {before.stack.get('lock')}", f"{stack.name} {stack.key}"),
        "stacks of steps": (others_of(before), ", ".join(sorted({f"{s.name} {s.key}" for s in spec.stacks.values()}))),
    }
    told = [f"{name} {was}, now {now}" for name, (was, now) in sides.items() if was != now]
    if told:
        raise UsageError(f"{before.run} ran otherwise: {'; '.join(told)}", "ask for the same, or leave --from out")


def others_of(before: RunRecord) -> str:
    """The stacks that steps of a run had beside its own, each with its lock."""
    return ", ".join(sorted(f"{name} {about['lock']}" for name, about in before.stack.get("others", {}).items()))


def the_steps_before(planned: Plan, start: str) -> list[Command]:
    """The commands to keep: of all steps before `start`, but servers. Raises UsageError where there are none."""
    if why := planned.left_out.get(start):
        raise UsageError(f"--from {start}: it is left out here: {why}", "start from another step")
    names = [step for step in planned.steps if step in planned.lab.steps]
    kept = [planned.command(step) for step in names[: names.index(start)]]
    kept = [command for command in kept if not command.ready]
    if not kept:
        raise UsageError(f"--from {start}: no step before it could be kept", "leave --from out")
    return kept


def refuse_another_step(planned: Plan, before: RunRecord, command: Command) -> None:
    """Raise UsageError where a step was not done, or would be another one today; it names what differs."""
    run, step, entry = before.run, command.step, before.step(command.step)
    if entry is None or entry.state != "done":
        ended = entry.state if entry else "not run"
        raise UsageError(f"{step} was {ended} in {run}, so it can't be kept", f"--from {step}, or leave it out")
    now = carried_out(planned, step, before.taken_over or Taken())[0]
    if told := [*other_flags(entry, now), *other_environment(entry, now), *files_changed(planned, entry, now)]:
        cure = f"give the same --set as {run} had (./inv show {run}), or leave --from out"
        raise UsageError(f"{step} of {run} can't be kept: {'; '.join(told)}", cure)
    if asked := [proof for proof in now.proves if proof not in {p.proof for p in entry.proofs}]:
        raise UsageError(f"{step} of {run} was not asked for «{asked[0]}»", f"./inv judge {run}, or leave --from out")


def other_flags(entry: StepRecord, now: Command) -> Iterator[str]:
    """The flags in which a step's command line differs."""
    was, argv = in_any_run(entry.argv, now.out.parent), in_any_run(redact.argv(now.argv), now.out.parent)
    mine, others = flags_of(argv), flags_of(was)
    for name in sorted({*mine, *others}):
        if mine.get(name) != others.get(name):
            said = [f"--{name} {side[name]}".rstrip() if name in side else "none" for side in (others, mine)]
            yield f"it had {said[0]}, now {said[1]}" if name in others else f"it had no --{name}, now {said[1]}"
    if mine == others and was != argv:
        yield "its command is another now"


def other_environment(entry: StepRecord, now: Command) -> Iterator[str]:
    """The variables in which a step's environment differs."""
    env = redact.environment(now.env)
    for name in sorted({*env, *entry.env} - set(OF_THE_MOMENT)):
        was, is_now = in_any_run([entry.env.get(name, ""), env.get(name, "")], now.out.parent)
        if was != is_now:
            yield f"it had {name}={was}, now {is_now}"


def files_changed(planned: Plan, entry: StepRecord, now: Command) -> Iterator[str]:
    """The lab's files that a step reads and that were changed since it began."""
    began = datetime.fromisoformat(entry.started.replace("Z", "+00:00")).timestamp()
    read_flags = [word for value in flags.read(now.argv, now.cwd).values() for word in flags.written(value)]
    for word in dict.fromkeys([*now.argv, *read_flags]):
        file = (now.cwd / word.partition("#")[0]).resolve()
        mine = any(file.is_relative_to(folder) for folder in planned.lab.reads.values())
        if mine and file.is_file() and file.stat().st_mtime > began:
            yield f"{word.partition('#')[0]} was changed since"


def entry_of(before: RunRecord, step: str) -> StepRecord:
    """A step's entry, which is there."""
    entry = before.step(step)
    assert entry  # noqa: S101 (refuse_another_step has looked)
    return entry
