"""`inv labs`: a line for each lab, or one lab at length."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.listing import facts, lines
from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS, shown
from gpulab.lab.lab import Lab, find_lab, lab_names, load_lab
from gpulab.plan.machine import Machine, this_machine
from gpulab.records.read import all_runs
from gpulab.records.record import RunRecord
from gpulab.reports.listings import UNREADABLE, read_or_why
from gpulab.reports.summary import state_text

HERE = {"yes": "gpu", "rehearse": "cpu", "no": "no"}
LEGEND = "here: gpu as written, cpu as a rehearsal, no: needs a GPU. One: ./inv labs NAME"
WITH_TITLES = 120  # columns of a terminal that has room for the labs' titles, too


def list_labs(name: str = "") -> Outcome:
    """Every lab: its needs, whether it can run here, how its last run ended; or all that is to know of one."""
    machine = this_machine()
    last = {f.parent.name: f for f in all_runs()}  # oldest first: the newest stays
    if name:
        lab = find_lab(name)
        entry = row(lab, machine, last.get(lab.slug))
        return Outcome({"labs": [entry]}, text=page(lab, machine, entry))
    labs, failures = all_labs()
    rows = [row(lab, machine, last.get(lab.slug)) for lab in labs]
    return Outcome({"labs": rows}, failures=failures, text=table(labs, rows))


def all_labs() -> tuple[list[Lab], list[str]]:
    """Every lab that can be read, and what is wrong with the others: one broken lab does not hide them."""
    labs: list[Lab] = []
    failures: list[str] = []
    for each in lab_names():
        try:
            lab = load_lab(LABS / each)
        except UsageError as error:
            failures.append(error.message)
            continue
        labs.append(lab)
    return labs, failures


def row(lab: Lab, machine: Machine, run: Path | None) -> dict[str, Any]:
    """A lab as --json has it."""
    lacks = machine.lacks(lab.sizes[-1].needs)
    here = "no" if lacks and lab.rehearse.impossible else "rehearse" if lacks else "yes"
    record = read_or_why(run) if run else None
    state, profile = (record.state, record.profile) if isinstance(record, RunRecord) else (UNREADABLE, "")
    last = {"state": state if run else "never", "profile": profile, "run": run}
    return {"lab": lab.name, "title": lab.title, "stack": lab.stack, "needs": lab.needs.model_dump(), "here": here,
            "smaller": [size.model_dump() for size in lab.smaller], "last": last}  # fmt: skip


def table(labs: list[Lab], rows: list[dict[str, Any]]) -> Group:
    """A line for each lab; with its title where the terminal has room for it."""
    wide = ["title"] if console.width >= WITH_TITLES else []
    listed = lines("lab", "needs", "here", "last run", *wide, wraps="title")
    for lab, entry in zip(labs, rows, strict=True):
        listed.add_row(
            lab.name, str(lab.needs), HERE[entry["here"]], ending(entry["last"]), *([lab.title] if wide else [])
        )
    return Group(listed, Text(LEGEND, style="dim"))


def models(lab: Lab) -> str:
    """Its model, and the smaller ones that may take its place, with the memory that they take."""
    smaller = [f"{size.model} with {size.vram_gib:g} GiB" for size in lab.smaller]
    return ", else ".join([lab.model or "", *smaller])


def ending(last: dict[str, Any]) -> Text:
    """How the last run ended, on what, and when: `done cpu 27 Nov`."""
    if not last["run"]:
        return Text("never", style="dim")
    when = day_of(last["run"])
    return Text.assemble(state_text(last["state"]), *(f" {word}" for word in (last["profile"], when) if word))


def day_of(run: Path) -> str:
    """The day of a run, from its folder's name: `27 Nov`; empty for a folder of another name."""
    try:
        return f"{datetime.strptime(run.name[:8], '%Y%m%d'):%d %b}"
    except ValueError:
        return ""


def page(lab: Lab, machine: Machine, entry: dict[str, Any]) -> Table:
    """All that is to know of a lab before it runs."""
    run: Path | None = entry["last"]["run"]
    lacks = machine.lacks(lab.sizes[-1].needs)
    fits = next((size for size in lab.sizes if not machine.lacks(size.needs)), lab)
    how = "as written" if fits.model == lab.model else f"with {fits.model}"
    here = {
        "yes": f"{how}, on this machine's GPUs",
        "rehearse": f"as a rehearsal on the CPU: {lacks}",
        "no": f"no: {lacks}; its rehearsal is impossible: {lab.rehearse.impossible}",
    }[entry["here"]]
    return facts({
        "lab": f"{lab.name}: {lab.title}",
        "needs": f"{lab.needs}; {lab.needs.disk_gib:g} GiB of disk, about {lab.needs.minutes:g} minutes",
        "here": here,
        "stack": lab.stack,
        "model": models(lab),
        "steps": ", ".join(lab.steps),
        "last run": f"{ending(entry['last'])}: ./inv show {run.parent.name}/{run.name}" if run else "never",
        "more": shown(lab.folder / "README.md"),
    })  # fmt: skip
