"""`inv runs`, `inv show`: what is on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.listing import lines, listing
from gpulab.common.numbers import positive
from gpulab.common.outcome import Outcome
from gpulab.common.paths import runs_dir, shown
from gpulab.lab.lab import find_lab
from gpulab.records.read import all_runs, find_run, read, run_name
from gpulab.records.record import RunRecord
from gpulab.reports.summary import again, judged_twice, run_figures, state_text

UNREADABLE = "unreadable"
MOST = 1_000_000
LEGEND = "./inv show RUN shows one: its figures, its proofs, and why it failed."
WITH_FAILURES = 120  # columns of a terminal that has room for what failed, too


def read_or_why(folder: Path) -> RunRecord | UsageError:
    """A run's record, or why it can't be read."""
    try:
        return read(folder)
    except UsageError as error:
        return error


def read_all(below: Path | None = None) -> dict[Path, RunRecord | UsageError]:
    """Every run's record by its folder, oldest first, or why it can't be read; of ours or `below` a folder."""
    return {folder: read_or_why(folder) for folder in all_runs(below=below)}


def list_runs(lab: str, limit: int) -> Outcome:
    """The last runs, newest first; no more records are opened than are shown."""
    positive("--limit", limit, MOST)
    folders = [
        f for f in all_runs() if not lab or lab.replace("/", "-") in (f.parent.name, f.parent.name.partition("-")[2])
    ]
    if not folders:
        name = find_lab(lab).name if lab else "quickstart"
        raise UsageError(f"no runs{f' of {name}' if lab else ''} in {shown(runs_dir())} yet", f"./inv lab {name}")
    wide = ["failure"] if console.width >= WITH_FAILURES else []
    table = lines("run", "profile", "state", "seconds", *wide, wraps="failure")
    table.columns[3].justify = "right"
    rows = []
    for folder in list(reversed(folders))[:limit]:
        record = read_or_why(folder)
        if isinstance(record, UsageError):
            row: dict[str, Any] = {"run": run_name(folder), "lab": None, "profile": "", "state": UNREADABLE,
                                   "failures": [record.message], "seconds": 0.0}  # fmt: skip
        else:
            row = {k: getattr(record, k) for k in ("run", "lab", "profile", "state", "failures", "seconds")}
        failure = row["failures"][0] if row["failures"] else ""
        seconds = f"{row['seconds']:.0f}"
        table.add_row(row["run"], row["profile"], state_text(row["state"]), seconds, *([Text(failure)] if wide else []))
        rows.append({**row, "folder": folder})
    return Outcome({"runs": rows}, text=Group(table, Text(LEGEND, style="dim")))


def show_run(run: str) -> Outcome:
    """One run: steps, figures, proofs with their evidence, files."""
    folder = find_run(run)
    record = read(folder)
    proofs = listing("step", "proof", "holds", "evidence", wraps="evidence")
    if console.width < WITH_FAILURES:
        proofs.columns[1].no_wrap = False
    for step in record.steps:
        for proof in step.proofs:
            proofs.add_row(step.step, proof.proof, "yes" if proof.holds else "[red]no[/]", Text(proof.evidence))
    failures = [Text(failure, style="red") for failure in record.failures]
    first = [Text(judged_twice(record, record.first_verdict), "yellow")] if record.first_verdict else []
    files = Text(f"page: ./inv report {record.run}   reproduce: {again(record, folder)}", style="dim")
    page = Group(run_figures(record, folder), proofs, *failures, *first, files)
    return Outcome({"record": record.as_data(), "folder": folder}, text=page)
