"""After a kill -9 of inv: the next inv stops what that run left running and closes its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpulab.common.errors import UsageError
from gpulab.common.processes import belonging, stop
from gpulab.records.record import DETACHED, abandoned, active_mark, now, read, write_atomically


def sweep() -> list[str]:
    """Clean up after every abandoned run; a line for each."""
    lines = []
    for folder in abandoned():
        found = belonging(folder)
        stop(found)
        if line := detach(folder):
            lines.append(line)
            continue
        count = len(found)
        try:
            record = read(folder)
            count += remove_containers(record, folder)
            record |= {"state": "killed", "ended": now(), "failures": ["inv was killed while it ran"]}
            write_atomically(folder / "run.json", json.dumps(record, indent=1) + "\n")
        except (UsageError, OSError):
            pass  # nothing was recorded yet, or the disk is full: there is nothing to close
        active_mark(folder).unlink(missing_ok=True)
        lines.append(f"{folder.parent.name}/{folder.name}: its inv was killed, {count} processes of it stopped")
    return lines


def detach(folder: Path) -> str | None:
    """Of a run on hosts, where jobs and containers go on: say so. None for other runs, and before its first step."""
    try:
        record = read(folder)
    except UsageError:
        return None
    if not (record.get("job") or (record.get("hosts") and record.get("steps"))):
        return None
    write_atomically(folder / "run.json", json.dumps(record | {"state": DETACHED}, indent=1) + "\n")
    active_mark(folder).unlink(missing_ok=True)
    what = f"job {record['job']}" if record.get("job") else f"what it started on {', '.join(record['hosts'])}"
    return f"{record['run']}: its inv is gone, {what} goes on: ./inv attach {record['run']}"


def remove_containers(record: dict[str, Any], folder: Path) -> int:
    """Remove the containers of a run of the docker engine, here or on its hosts; how many there were."""
    if record.get("engine") != "docker":
        return 0
    from gpulab.common.docker import Docker, remove_run
    from gpulab.hosts.engines import engine_of
    from gpulab.hosts.inventory import load_hosts

    if not record.get("hosts"):
        return remove_run(Docker(), folder)
    return sum(
        remove_run(engine_of(host), folder) for host in load_hosts(record["inventory"], ",".join(record["hosts"]))
    )
