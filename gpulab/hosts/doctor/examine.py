"""Carry out the doctor's checks: on this machine, or on every host of an inventory with one round trip each."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gpulab.common.failure import Failure
from gpulab.common.outcome import Outcome
from gpulab.common.paths import STACKS_YML
from gpulab.common.yamlfile import load
from gpulab.hosts.doctor import cluster, host, python  # noqa: F401 (each adds its checks)
from gpulab.hosts.doctor.check import CHECKS, State
from gpulab.hosts.inventory import load_hosts
from gpulab.hosts.show import look_at
from gpulab.hosts.ssh import Answer
from gpulab.inside.machine import facts
from gpulab.stacks.stack import load_stacks

PARTS = ["system", "memory", "gpus", "containers", "network", "environment", "faults", "pythons"]
STYLES = {"sick": "[red]sick[/]", "note": "[yellow]note[/]", "well": "[green]well[/]"}


def doctor(hosts: str, *, limit: str, every: bool) -> Outcome:
    """Look for every known problem. Exit 1 where one is found; its line names the cure. `every` shows the rest, too.

    Raises UsageError for mistakes in the inventory.
    """
    failures: list[Failure] = []
    if hosts:
        chosen = load_hosts(hosts, limit)
        states: dict[str, State] = {}
        lab = {"hosts": len(chosen), **pins()}
        for name, found in look_at(chosen, PARTS, hosts, deadline=120).items():
            if isinstance(found, Answer):
                failures.append(found.failure(name))
            else:
                states[name] = {**found, "lab": lab}
    else:
        stacks = load_stacks()
        left_out = {
            str(stack.venv): stack.left_out
            for stack in stacks.values() if stack.lock.is_file() and stack.installed
        }  # fmt: skip
        locks = {name: stack.lock.is_file() for name, stack in stacks.items()}
        lab = {"hosts": 1, "locks": locks, "left_out": left_out, **pins()}
        states = {"this machine": {**facts.look(PARTS, list(left_out)), "lab": lab}}
    rows = [row for name, state in states.items() for row in examine(name, state)]
    failures += [Failure(f"{r['check']}: {r['evidence']}", r["cure"], r["host"]) for r in rows if r["state"] == "sick"]
    shown = [r for r in rows if every or r["state"] != "well"]
    return Outcome({"findings": rows}, failures=failures, text=Group(table(shown), summary(rows)),
                   told=len(failures) == sum(row["state"] == "sick" for row in rows))  # fmt: skip


def table(rows: list[dict[str, str]]) -> Table:
    """Host by host, each finding with its evidence and, where it is a problem, its cure below."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column()
    before = ""
    for row in rows:
        if row["host"] != before:
            before = row["host"]
            grid.add_row("", Text(before, style="bold"))
        grid.add_row(STYLES[row["state"]], Text.assemble((row["check"], "bold"), f": {row['evidence']}"))
        if row["state"] == "sick":
            grid.add_row("", f"cure: {row['cure']}")
    return grid


def summary(rows: list[dict[str, str]]) -> Text:
    """How many checks found something of their kind, and how many were content."""
    well = sum(row["state"] == "well" for row in rows)
    applied = len({row["check"] for row in rows} & {check.id for check in CHECKS})
    return Text(f"{applied} of {len(CHECKS)} checks apply here, {well} of {len(rows)} findings are well")


def pins() -> dict[str, Any]:
    """What docker/stacks.yml says of drivers, and of packages that must fit."""
    written = load(STACKS_YML)
    return {"cuda_needs_driver": written["node"]["cuda_needs_driver"], "works_with": written["works_with"]}


def examine(name: str, state: State) -> list[dict[str, str]]:
    """The findings of every check that applies to one machine."""
    # A part that could not be read is no evidence of anything, and that is told.
    unread = {part: found["error"] for part, found in state.items() if isinstance(found, dict) and "error" in found}
    readable = {part: found for part, found in state.items() if part not in unread}
    rows = [
        {"host": name, "check": part, "state": "note", "evidence": f"can't be read: {why}",
         "problem": "", "cure": "let the user use sudo without a password, or look as root", "issues": ""}
        for part, why in unread.items()
    ]  # fmt: skip
    for check in CHECKS:
        finding = check.look(readable)
        if finding:
            rows.append({
                "host": name, "check": check.id, "state": finding.state, "evidence": finding.evidence,
                "problem": check.problem, "cure": check.cure, "issues": check.issues,
            })  # fmt: skip
    return rows
