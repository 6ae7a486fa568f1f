"""`inv hosts`: what was understood of the inventory, and who can be reached."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from gpulab.common.console import console
from gpulab.common.failure import Failure
from gpulab.common.outcome import Outcome
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.shipped import program
from gpulab.hosts.ssh import Answer, ask


def look_at(
    hosts: list[Host], parts: list[str], inventory: str, deadline: float = 30
) -> dict[str, dict[str, Any] | Answer]:
    """Parts of what every host is, one round trip each; the Answer with its problem where there is none."""

    def argv(host: Host) -> list[str]:
        return ["python3", "-", *parts, *(f"{name}={path}" for name, path in hardware(host).items())]

    answers = ask(hosts, argv, stdin=program("machine.facts"), deadline=deadline, inventory=inventory)
    return {name: answer if answer.problem else json.loads(answer.stdout) for name, answer in answers.items()}


def hardware(host: Host) -> dict[str, str]:
    """Where to look for a host's hardware: where the roles were told to."""
    told = {name: host.variables.get(f"validate_{name}_path") for name in ("pci", "driver", "rdma")}
    return {name: str(path) for name, path in told.items() if path}


def show(hosts: str, *, limit: str) -> Outcome:
    """Every host with its groups, address, GPUs and reachability. Exit 1 where one can't be reached.

    Raises UsageError for mistakes in the inventory.
    """
    chosen = load_hosts(hosts, limit)
    with console.status(f"asking {len(chosen)} hosts"):
        seen = look_at(chosen, ["system", "gpus"], hosts, deadline=20)
    grid = Table(box=None, pad_edge=False)
    for title in ("host", "groups", "address", "system", "GPUs", "driver", "reached"):
        grid.add_column(title)
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for host in chosen:
        found = seen[host.name]
        row: dict[str, Any] = {"host": host.name, "groups": list(host.groups), "address": host.address}
        if isinstance(found, Answer):
            failures.append(found.failure(host.name))
            row |= {"reached": False, "problem": found.problem, "cure": found.cure}
            grid.add_row(host.name, " ".join(host.groups), host.address, "", "", "", f"[red]{found.problem}[/]")
        else:
            gpus = found["gpus"]
            row |= {"reached": True, "system": found["system"]["distribution"], "gpus": gpu_names(gpus),
                    "driver": gpus.get("driver_loaded", "")}  # fmt: skip
            cells = [row["system"], ", ".join(row["gpus"]) or "none", row["driver"] or "none", "[green]yes[/]"]
            grid.add_row(host.name, " ".join(host.groups), host.address, *cells)
        rows.append(row)
    return Outcome({"inventory": str(Path(hosts).absolute()), "hosts": rows}, failures=failures, text=grid)


def gpu_names(gpus: dict[str, Any]) -> list[str]:
    """`2 x NVIDIA H100 80GB`, by nvidia-smi; by PCI numbers where no driver tells the name."""
    told = gpus.get("smi", {}).get("gpus", [])
    names = [f"{g['name']} {g['memory.total']}" for g in told] or [
        f"10de:{g['device'][2:]}" for g in gpus.get("pci", [])
    ]
    return [f"{count} x {name}" for name, count in Counter(names).items()]
