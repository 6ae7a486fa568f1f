"""`inv labs`, `inv runs`, `inv show`, `inv stacks`: what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.listing import listing
from gpulab.common.numbers import positive
from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS, runs_dir, shown
from gpulab.lab.lab import lab_names, load_lab
from gpulab.plan.machine import this_machine
from gpulab.records.read import all_runs, find_run, read, run_name
from gpulab.records.record import RunRecord
from gpulab.reports.summary import run_page, state_text
from gpulab.stacks.stack import load_stack, load_stacks

UNREADABLE = "unreadable"
MOST = 1_000_000


def list_labs() -> Outcome:
    """Every lab: chapter, title, stack, needs, whether it can run here, how its last run ended."""
    machine = this_machine()
    last = {f.parent.name: f for f in all_runs()}  # oldest first: the newest stays
    table = listing("chapter/lab, title", "stack", "needs", "here", "last run", wraps="chapter/lab, title")
    rows: list[dict[str, Any]] = []
    failures = []
    for name in lab_names():
        try:
            lab = load_lab(LABS / name)
        except UsageError as error:  # one broken lab does not hide the others
            failures.append(error.message)
            continue
        here = (
            "no" if (lacks := machine.lacks(lab.needs)) and lab.rehearse.impossible else "rehearse" if lacks else "yes"
        )
        state, when = "never", ""
        if folder := last.get(lab.slug):
            record = _record(folder)
            profile = f"{record.profile} " if isinstance(record, RunRecord) else ""
            state = record.state if isinstance(record, RunRecord) else UNREADABLE
            when = f"{profile}{folder.name[:8]}"
        title = Text.assemble((name, "bold"), "\n", (lab.title, "dim"))
        table.add_row(title, lab.stack, str(lab.needs), here, Text.assemble(state_text(state), "\n", when))
        rows.append({"lab": name, "title": lab.title, "stack": lab.stack, "needs": lab.needs.model_dump(),
                     "here": here, "last": {"state": state, "run": last.get(lab.slug)}})  # fmt: skip
    return Outcome({"labs": rows}, failures=failures, text=table)


def _record(folder: Path) -> RunRecord | UsageError:
    """A run's record, or why it can't be read."""
    try:
        return read(folder)
    except UsageError as error:
        return error


def list_runs(lab: str, limit: int) -> Outcome:
    """The last runs, newest first; no more records are opened than are shown."""
    positive("--limit", limit, MOST)
    folders = [
        f for f in all_runs() if not lab or lab.replace("/", "-") in (f.parent.name, f.parent.name.partition("-")[2])
    ]
    if not folders:
        raise UsageError(
            f"no runs{f' of {lab}' if lab else ''} in {shown(runs_dir())} yet", f"./inv lab {lab or 'quickstart'}"
        )
    table = listing("run", "profile", "state", "seconds", "failure", wraps="failure")
    rows = []
    for folder in list(reversed(folders))[:limit]:
        record = _record(folder)
        if isinstance(record, UsageError):
            row: dict[str, Any] = {"run": run_name(folder), "lab": None, "profile": "", "state": UNREADABLE,
                                   "failures": [record.message], "seconds": 0.0}  # fmt: skip
        else:
            row = {k: getattr(record, k) for k in ("run", "lab", "profile", "state", "failures", "seconds")}
        failure = row["failures"][0] if row["failures"] else ""
        seconds = f"{row['seconds']:.0f}"
        table.add_row(row["run"], row["profile"], state_text(row["state"]), seconds, Text(failure))
        rows.append({**row, "folder": folder})
    return Outcome({"runs": rows}, text=table)


def show_run(run: str) -> Outcome:
    """One run: steps, figures, proofs with their evidence, files."""
    folder = find_run(run)
    record = read(folder)
    proofs = listing("step", "proof", "holds", "evidence", wraps="evidence")
    for step in record.steps:
        for proof in step.proofs:
            proofs.add_row(step.step, proof.proof, "yes" if proof.holds else "[red]no[/]", Text(proof.evidence))
    failures = [Text(failure, style="red") for failure in record.failures]
    page = Group(proofs, *failures, run_page(record, folder))
    return Outcome({"record": record.as_data(), "folder": folder}, text=page)


def list_stacks(install: str) -> Outcome:
    """Every stack with its pins and local venv; makes one when asked."""
    if install:
        load_stack(install).ensure()
    table = listing("stack", "python", "torch", "pins", "local venv", wraps="stack")
    rows = []
    for stack in load_stacks().values():
        where = "made" if stack.installed else "not made"
        about = Text.assemble((stack.name, "bold"), "\n", (stack.pins.about, "dim"))
        table.add_row(about, stack.pins.python, stack.pins.torch, Text("\n".join(stack.pins.pins)), where)
        rows.append(
            {
                "stack": stack.name,
                **stack.pins.model_dump(by_alias=True),
                "lock": stack.key,
                "venv": stack.venv if stack.installed else None,
            }
        )
    return Outcome({"stacks": rows}, text=table)
