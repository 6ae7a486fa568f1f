"""`inv judge`: a finished run judged again by the proofs that its lab has now, from the files that are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from gpulab.checks import verdict as checks
from gpulab.common.errors import UsageError
from gpulab.common.listing import listing
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.engines.backend import log_of, question
from gpulab.inside.resume_files import Taken
from gpulab.lab.lab import lab_names
from gpulab.plan.machine import Machine
from gpulab.plan.plan import Plan
from gpulab.plan.resume_flags import carried_out
from gpulab.records.read import find_run, read
from gpulab.records.record import GOING, Proof, RunRecord, StepRecord, Verdict, now
from gpulab.records.writer import write
from gpulab.reports.report import write_report
from gpulab.runs.spec import RunSpec

SAID = {True: "held", False: "[red]failed[/]", None: "-"}


def judge(run: str) -> Outcome:
    """Judge a run again; its record keeps the first verdict, too. Raises UsageError where there is nothing to judge."""
    folder = find_run(run)
    record = read(folder)
    refuse_what_cannot_be_judged(record)
    planned = as_it_ran(folder, record)
    entries = [entry for entry in record.steps if entry.step in planned.lab.steps and ended_well(entry)]
    refuse_lost_files(planned, record, entries)
    first, left = record.first_verdict or record.verdict, not_run(record, planned)
    failures = [failure for entry in entries for failure in judge_step(planned, record, entry)]
    close_again(record, first, left, failures)
    write(folder, record)
    write_report(folder, record)
    rows = [row for entry in entries for row in proof_by_proof(entry, first)]
    table = listing("step", "proof", "first", "now", "evidence", wraps="evidence")
    for row in rows:
        table.add_row(row["step"], row["proof"], SAID[row["first"]], SAID[row["holds"]], Text(row["evidence"]))
    return Outcome(
        {"run": record.run, "state": record.state, "first": first.state, "proofs": rows},
        failures=failures, text=Group(table, *(Text(line) for line in what_is_next(record, left))),
    )  # fmt: skip


def proof_by_proof(entry: StepRecord, first: Verdict) -> list[dict[str, Any]]:
    """Each proof of a step as it holds now, and whether it held at `first`; None where it was not asked."""
    before = {proof.proof: proof.holds for proof in first.proofs.get(entry.step, [])}
    return [{"step": entry.step, **p.model_dump(), "first": before.get(p.proof)} for p in entry.proofs]


def refuse_what_cannot_be_judged(record: RunRecord) -> None:
    """Raise UsageError for a run that goes on, whose files are elsewhere, or whose lab is gone."""
    run = record.run
    if record.state in GOING:
        raise UsageError(f"{run} is {record.state}: it is judged at its end", f"./inv watch {run}")
    if record.hosts:
        raise UsageError(
            f"{run} was judged on {record.hosts[0]}, where its files are", f"run it again: {again(record)}"
        )
    if record.lab not in lab_names():
        raise UsageError(f"{run} is of {record.lab}, which is no lab now", f"./inv show {run} has what it proved")


def refuse_lost_files(planned: Plan, record: RunRecord, entries: list[StepRecord]) -> None:
    """Raise UsageError where no step ended, or not all is there that a step has left."""
    if not entries:
        raise UsageError(f"no step of {record.run} ended, so there is nothing to judge", f"./inv resume {record.run}")
    for entry in entries:
        out = planned.command(entry.step).out
        files = [out, log_of(planned, entry.step), *(out / made["path"] for made in entry.artefacts)]
        if gone := next((file for file in files if not file.exists()), None):
            raise UsageError(f"{shown(gone)} is gone, {entry.step} can't be judged", f"run it again: {again(record)}")


def again(record: RunRecord) -> str:
    """The command that runs its lab anew."""
    return f"./inv lab {record.lab}{' --rehearse' * (record.profile == 'cpu')}"


def as_it_ran(folder: Path, record: RunRecord) -> Plan:
    """The plan of a run on the machine that its record has, with the lab's proofs as they are now."""
    machines = [Machine.from_dict(each) for each in [record.machine, *record.others]]
    return replace(RunSpec.again(record, record.why), machines=machines).plan(folder)


def ended_well(entry: StepRecord) -> bool:
    """Whether a step got as far as to its proofs. A server has no exit: it answered."""
    return entry.exit == 0 or (bool(entry.url) and (entry.state == "done" or bool(entry.proofs)))


def judge_step(planned: Plan, record: RunRecord, entry: StepRecord) -> list[str]:
    """Judge one step; its entry has what came of it. What failed, in a line each."""
    command = carried_out(planned, entry.step, record.taken_over or Taken())[0]
    judged = checks.judge(question(planned, command))
    entry.artefacts = judged.artefacts
    entry.proofs = [Proof.model_validate(proof) for proof in judged.proofs]
    entry.state = "failed" if judged.failures else "done"
    return judged.failures


def close_again(record: RunRecord, first: Verdict, left: list[str], failures: list[str]) -> None:
    """The run's failures and state by the new judgement; why a command broke, or the run was ended, stays as it was."""
    ended = record.state in ("done", "failed")
    broken = [entry for entry in record.steps if entry.state != "done" and not ended_well(entry)]
    record.failures = [*failures, *(first.failures if broken or not ended else [])]
    if ended:
        record.failures += [f"it went no further than {record.steps[-1].step}"] if left and not record.failures else []
        record.state = "failed" if record.failures else "done"
    record.judged_again, record.first_verdict = now(), first


def not_run(record: RunRecord, planned: Plan) -> list[str]:
    """The steps that a run did not come to; a server is not missed where its last user has run."""
    missing = [c for c in planned.commands if c.step in planned.lab.steps and not record.step(c.step)]
    return [command.step for command in missing if not record.step(command.until or command.step)]


def what_is_next(record: RunRecord, left: list[str]) -> list[str]:
    """How to go on with a run that a proof had stopped, and that now holds."""
    if not left or any(entry.state != "done" for entry in record.steps):
        return []
    return [f"{left[0]} was not run yet: ./inv resume {record.run}"]
