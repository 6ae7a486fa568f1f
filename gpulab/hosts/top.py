"""`inv top`: who uses which GPU: what nvidia-smi says on each host, and which run has claimed it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from gpulab.common.console import console
from gpulab.common.failure import Failure
from gpulab.common.listing import lines
from gpulab.common.outcome import Outcome
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.reservation import NAME
from gpulab.hosts.shipped import program as program_of
from gpulab.hosts.ssh import ask
from gpulab.records.service import SERVICES, holder

EACH = 3.0  # seconds between two looks


def top(hosts: str, limit: str, *, once: bool) -> Outcome:
    """Every GPU and who uses it, until Ctrl-C; once where nobody looks at a terminal. Exit 1 where a host does not
    answer. Raises UsageError for mistakes in the inventory."""
    chosen = load_hosts(hosts, limit)
    with console.status(f"asking {len(chosen)} hosts"):
        found = look(chosen, hosts)
    if console.is_terminal and console.file is not sys.stderr and not once:
        with Live(view(found), console=console, auto_refresh=False, transient=True) as live:
            try:
                while True:
                    live.update(view(found), refresh=True)
                    time.sleep(EACH)
                    found = look(chosen, hosts)
            except KeyboardInterrupt:
                pass  # it is the watching that ends
    failures = [Failure(row["problem"], row["cure"], row["host"]) for row in found if row["problem"]]
    return Outcome({"hosts": found}, failures=failures, text=view(found))


def look(hosts: Sequence[Host], inventory: str) -> list[dict[str, Any]]:
    """What each host says of its GPUs; `problem` and `cure` where it says nothing."""
    text = program_of("gpu_use")
    answers = ask(hosts, lambda _: ["python3", "-", NAME], stdin=text, inventory=inventory)
    found = []
    for name, answer in answers.items():
        told = json.loads(answer.stdout) if not answer.problem else {"gpus": [], "programs": [], "claim": None}
        problem = answer.problem or told.pop("complaint", "")
        cure = answer.cure or (f"./inv doctor --hosts {inventory} --limit {name}" if problem else "")
        found.append({"host": name, **told, "problem": problem, "cure": cure})
    return found


def view(found: Sequence[dict[str, Any]]) -> Group:
    """A row for each GPU; for a host without one, or without an answer, one that says so."""
    table = lines("host", "GPU", "name", "use", "memory", "reserved by", "programs", wraps="programs")
    for host in found:
        if host["problem"]:
            table.add_row(host["host"], "", Text(host["problem"], "red"))
            continue
        whose = reserved(host["claim"])
        if not host["gpus"]:
            table.add_row(host["host"], "", Text("no GPU", "dim"), "", "", whose)
        for gpu in host["gpus"]:
            table.add_row(
                host["host"], gpu["index"], gpu["name"].removeprefix("NVIDIA "), percent(gpu["percent"]), memory(gpu),
                whose, "\n".join(program(one) for one in host["programs"] if one["gpu"] == gpu["uuid"]),
            )  # fmt: skip
    return Group(Text(f"{datetime.now():%H:%M:%S}", "dim"), table)


def reserved(claim: dict[str, Any] | None) -> str:
    """The run or the service that has a host: who, which, since when."""
    if not claim:
        return ""
    return f"{claim['by'] or '?'}: {holder(Path(claim['run'])).removeprefix('run ')}, {lasted(claim['seconds'])}"


def program(one: dict[str, Any]) -> str:
    """A program on a GPU: whose, what, its memory; the run that it belongs to, where that is known."""
    used = f" {one['mib'] / 1024:.1f} GiB" if one["mib"] is not None else ""
    folder = Path(one["run"])
    whose = holder(folder) if folder.parent.name == SERVICES else folder.parent.name
    run = f" of {whose}" if one["run"] else ""
    return f"{one['user'] or '?'}: {Path(one['name']).name} ({one['pid']}){used}{run}"


def lasted(seconds: float) -> str:
    """How long, as one says it."""
    minutes = int(seconds) // 60
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def percent(value: float | None) -> str:
    """How busy it is."""
    return "" if value is None else f"{value:.0f} %"


def memory(gpu: dict[str, Any]) -> str:
    """What is taken of its memory."""
    used, total = (value / 1024 if value is not None else None for value in (gpu["used_mib"], gpu["total_mib"]))
    if total is None:
        return ""
    return f"{'?' if used is None else f'{used:.1f}'} of {total:.0f} GiB"
