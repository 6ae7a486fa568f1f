"""`inv fingerprint`: all that makes a host what it is, as one object; two hosts compared line by line."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table
from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.hosts.inventory import load_hosts
from gpulab.hosts.show import look_at
from gpulab.hosts.ssh import Answer

PARTS = ["system", "memory", "gpus", "containers", "network", "kernel_settings", "packages"]
# Of those parts: what belongs to one host or one moment.
OWN = ("containers.data_root_free_gib", "network.own_addresses", "network.listening", "containers.cuda_images")
MISSING = "-"


def fingerprint(names: list[str], hosts: str) -> Outcome:
    """One host's fingerprint, or the lines in which two differ (then exit 1).

    Raises UsageError for mistakes in the inventory, and for none or more than two hosts.
    """
    if len(names) not in (1, 2):
        raise UsageError(f"{len(names)} hosts given, a fingerprint is of one or two", "--host gpu1 --host gpu2")
    chosen = load_hosts(hosts, ",".join(names))
    seen = look_at(chosen, PARTS, hosts, deadline=60)
    silent = {name: found for name, found in seen.items() if isinstance(found, Answer)}
    if silent:
        failures = [answer.failure(name) for name, answer in silent.items()]
        return Outcome({"fingerprints": {}}, failures=failures)
    prints = {name: seen[name] for name in names if isinstance(seen[name], dict)}
    if len(names) == 1:
        return Outcome({"fingerprints": prints}, text=json.dumps(prints[names[0]], indent=2))
    differs = difference(*(flat(p) for p in prints.values()))
    grid = Table(box=None, pad_edge=False)
    for title in ("what", *names):
        grid.add_column(title, overflow="fold")
    for what, (one, other) in differs.items():
        grid.add_row(what, Text(one), Text(other))
    data = {
        "fingerprints": prints,
        "differs": {what: dict(zip(names, two, strict=True)) for what, two in differs.items()},
    }
    summary = [f"{names[0]} and {names[1]} differ in {len(differs)} lines"] if differs else []
    return Outcome(data, failures=summary, text=grid if differs else f"{names[0]} and {names[1]} are alike")


def flat(value: Any, where: str = "") -> dict[str, str]:
    """`path: value` lines; without what belongs to one host or one moment."""
    if where in OWN:
        return {}
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{where}.{key}".lstrip(".")).items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {k: v for i, inner in enumerate(value) for k, v in flat(inner, f"{where}[{i}]").items()}
    return {where: ", ".join(map(str, value)) if isinstance(value, list) else str(value)}


def difference(one: dict[str, str], other: dict[str, str]) -> dict[str, tuple[str, str]]:
    """The lines that differ, each with both values; `-` where one has none."""
    both = {
        what: (one.get(what, MISSING), other.get(what, MISSING)) for what in [*one, *(k for k in other if k not in one)]
    }
    return {what: two for what, two in both.items() if two[0] != two[1]}
