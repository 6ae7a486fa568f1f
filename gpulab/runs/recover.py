"""After a kill -9 of inv: the next inv stops what that run left running and closes its record."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.processes import belonging, stop
from gpulab.records.read import read, run_name
from gpulab.records.record import DETACHED, RunRecord
from gpulab.records.writer import abandoned, active_mark, end, write


def sweep() -> list[str]:
    """Clean up after every abandoned run; a line for each. A record that can't be read, or written, stops nothing."""
    lines = []
    for folder in abandoned():
        found = belonging(folder)
        stop(found)
        with suppress(OSError):  # a mark that can't be removed is met again
            lines.append(_close(folder, len(found)))
            active_mark(folder).unlink(missing_ok=True)
    return lines


def _close(folder: Path, count: int) -> str:
    """Close the record of a run whose inv was killed; the line that says so."""
    name = run_name(folder)
    try:
        record = read(folder)
    except UsageError as error:
        left = f"; {error.message}" if folder.is_dir() else ""
        return f"{name}: its inv was killed, {count} processes of it stopped{left}"
    if record.job or (record.hosts and record.steps):  # on hosts jobs and containers go on
        record.state = DETACHED
        write(folder, record)
        what = f"job {record.job}" if record.job else f"what it started on {', '.join(record.hosts)}"
        return f"{name}: its inv is gone, {what} goes on: ./inv attach {name}"
    with suppress(UsageError):  # its hosts can't be asked
        count += remove_containers(record, folder)
    end(folder, record, "killed", "inv was killed while it ran")
    return f"{name}: its inv was killed, {count} processes of it stopped"


def remove_containers(record: RunRecord, folder: Path) -> int:
    """Remove the containers of a run of the docker engine, here or on its hosts; how many there were."""
    if record.engine != "docker":
        return 0
    from gpulab.common.docker import Docker, remove_run
    from gpulab.hosts.engines import engine_of
    from gpulab.hosts.inventory import load_hosts

    if not record.hosts:
        return remove_run(Docker(), folder)
    return sum(remove_run(engine_of(host), folder) for host in load_hosts(record.inventory, ",".join(record.hosts)))
