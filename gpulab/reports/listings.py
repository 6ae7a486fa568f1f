"""`inv runs`, `inv show`: what is on record."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.listing import listing
from gpulab.common.outcome import Outcome
from gpulab.common.paths import runs_dir, shown
from gpulab.records.record import all_runs, find_run, read
from gpulab.reports.summary import run_page, state_text


def list_runs(lab: str, limit: int) -> Outcome:
    """The last runs, newest first."""
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
        record = read(folder)
        seconds = sum(step.get("seconds", 0) for step in record["steps"])
        failure = record["failures"][0] if record["failures"] else ""
        table.add_row(record["run"], record["profile"], state_text(record["state"]), f"{seconds:.0f}", Text(failure))
        rows.append(
            {k: record[k] for k in ("run", "lab", "profile", "state", "failures")}
            | {"folder": folder, "seconds": seconds}
        )
    return Outcome({"runs": rows}, text=table)


def show_run(run: str) -> Outcome:
    """One run: steps, figures, proofs with their evidence, files."""
    folder = find_run(run)
    record = read(folder)
    proofs = listing("step", "proof", "holds", "evidence", wraps="evidence")
    for step in record["steps"]:
        for proof in step.get("proofs", []):
            proofs.add_row(
                step["step"], proof["proof"], "yes" if proof["holds"] else "[red]no[/]", Text(proof["evidence"])
            )
    failures = [Text(failure, style="red") for failure in record["failures"]]
    page = Group(proofs, *failures, run_page(record, folder))
    return Outcome({"record": record, "folder": folder}, text=page)
