"""Carry out the doctor's checks: on this machine, or on every host of an inventory with one round trip each."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gpulab.common.outcome import Outcome
from gpulab.common.paths import STACKS_YML
from gpulab.common.yamlfile import load
from gpulab.hosts.doctor import cluster, host, python  # noqa: F401 (each adds its checks)
from gpulab.hosts.doctor.check import CHECKS, State
from gpulab.hosts.inventory import load_hosts
from gpulab.hosts.show import look_at
from gpulab.hosts.ssh import Answer
from gpulab.inside import machine_facts
from gpulab.stacks.stack import load_stacks

PARTS = ["system", "memory", "gpus", "containers", "network", "environment", "faults", "pythons"]
STYLES = {"sick": "[red]sick[/]", "note": "[yellow]note[/]", "well": "[green]well[/]"}


def doctor(hosts: str, *, limit: str, every: bool) -> Outcome:
    """Look for every known problem. Exit 1 where one is found; its line names the cure. `every` shows the rest, too.

    Raises UsageError for mistakes in the inventory.
    """
    failures: list[str] = []
    if hosts:
        chosen = load_hosts(hosts, limit)
        states: dict[str, State] = {}
        lab = {"hosts": len(chosen), **pins()}
        for name, found in look_at(chosen, PARTS, hosts, deadline=120).items():
            if isinstance(found, Answer):
                failures.append(f"{name}: {found.problem} (cure: {found.cure})")
            else:
                states[name] = {**found, "lab": lab}
    else:
        stacks = load_stacks()
        left_out = {
            str(stack.venv): stack.pins.leaves_out
            for stack in stacks.values() if stack.lock.is_file() and stack.installed
        }  # fmt: skip
        locks = {name: stack.lock.is_file() for name, stack in stacks.items()}
        lab = {"hosts": 1, "locks": locks, "left_out": left_out, **pins()}
        states = {"this machine": {**machine_facts.look(PARTS, list(left_out)), "lab": lab}}
    rows = [row for name, state in states.items() for row in examine(name, state)]
    failures += [
        f"{r['host']}: {r['check']}: {r['evidence']} (cure: {r['cure']})" for r in rows if r["state"] == "sick"
    ]
    shown = [r for r in rows if every or r["state"] != "well"]
    grid = Table(box=None, pad_edge=False)
    for title in ("host", "check", "", "evidence"):
        grid.add_column(title, overflow="fold")
    for r in shown:
        grid.add_row(r["host"], r["check"], STYLES[r["state"]], Text(r["evidence"]))
    well = sum(r["state"] == "well" for r in rows)
    applied = len({r["check"] for r in rows} & {check.id for check in CHECKS})
    line = Text(f"{applied} of {len(CHECKS)} checks apply here, {well} of {len(rows)} findings are well")
    return Outcome({"findings": rows}, failures=failures, text=Group(grid, line) if shown else line)


def pins() -> dict[str, Any]:
    """What docker/stacks.yml says of drivers, and of packages that must fit."""
    written = load(STACKS_YML)
    return {"cuda_needs_driver": written["node"]["cuda_needs_driver"], "works_with": written["works_with"]}


def examine(name: str, state: State) -> list[dict[str, str]]:
    """The findings of every check that applies to one machine_facts."""
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
