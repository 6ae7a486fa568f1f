"""`inv attach`, `inv cancel`, `inv queue`: runs that live in the hosts' queue."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.text import Text

from gpulab.engines.slurm import SlurmEngine
from gpulab.errors import UsageError
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.login import ask_login, login_host
from gpulab.hosts.seat import find_seats
from gpulab.lab import find_lab
from gpulab.labrun import LabRun
from gpulab.listings import listing
from gpulab.plan import plan
from gpulab.record import DETACHED, RUNNING, Record, active_mark, find_run, now, read, write_atomically
from gpulab.stacks import load_stack
from gpulab.verb import Outcome

JOBS = {"job": "%i", "user": "%u", "name": "%j", "state": "%T", "since": "%M", "nodes": "%D", "where or why": "%R"}
NODES = {"node": "%N", "state": "%t", "gpus": "%G", "cpus": "%C", "why": "%E"}


def attach(run: str) -> Outcome:
    """Follow a run's job again, from its first line on. Raises UsageError where there is nothing to follow."""
    folder, data = find_job(run)
    if data["state"] not in (RUNNING, DETACHED):
        raise UsageError(f"{data['run']} is over: {data['state']}", f"./inv show {data['run']}")
    lab, stack = find_lab(data["lab"]).only(data["only"]), load_stack(data["stack"]["name"])
    seats = find_seats(lab.needs, data["inventory"], "gpu", 1)
    engine = SlurmEngine(stack, seats, login_of(data), requeue=data["requeue"], job=data["job"])
    replan = functools.partial(
        plan, lab, data["profile"], stack, folder, data["settings"], hub=data["hub"], network=engine.network,
        nodes=engine.nodes(data["nodes"]), rendezvous=engine.rendezvous(),
    )  # fmt: skip
    record = Record.reopen(folder, {**data, "state": RUNNING, "steps": [], "failures": []})
    return LabRun(record, engine, replan(ports=data["ports"]), replan, keep_serving=False).carry_out()


def cancel(run: str) -> Outcome:
    """End a run's job, also one that nobody follows. Raises UsageError where it has none."""
    folder, data = find_job(run)
    if data["state"] not in (RUNNING, DETACHED):
        raise UsageError(f"{data['run']} is over: {data['state']}", f"./inv show {data['run']}")
    ask_login(login_of(data), ["scancel", data["job"]])
    try:
        with FileLock(active_mark(folder), timeout=0):
            data |= {"state": "interrupted", "ended": now(), "failures": [f"job {data['job']} was cancelled"]}
            write_atomically(folder / "run.json", json.dumps(data, indent=1) + "\n")
    except Timeout:
        pass  # an inv follows it, and closes its record
    return Outcome({"run": data["run"], "job": data["job"]}, text=Text(f"job {data['job']} is cancelled"))


def queue(hosts: str) -> Outcome:
    """The jobs of the hosts' queue and its nodes, those that take no jobs with the reason."""
    login = login_host(load_hosts(hosts))
    jobs = table_of(login, "squeue", JOBS)
    nodes = table_of(login, "sinfo", NODES, "--Node")
    shown = []
    for rows, columns, wraps in ((jobs, JOBS, "where or why"), (nodes, NODES, "why")):
        table = listing(*columns, wraps=wraps)
        for row in rows:
            table.add_row(*(Text(value) for value in row.values()))
        shown.append(table)
    from rich.console import Group

    return Outcome({"jobs": jobs, "nodes": nodes}, text=Group(*shown))


def table_of(login: Host, program: str, columns: dict[str, str], *more: str) -> list[dict[str, str]]:
    """What a program of Slurm answers in these columns."""
    said = ask_login(login, [program, "--noheader", *more, f"--format={'|'.join(columns.values())}"])
    return [dict(zip(columns, line.split("|"), strict=False)) for line in said.splitlines()]


def find_job(run: str) -> tuple[Path, dict[str, Any]]:
    """A run that was submitted, and its record. Raises UsageError where it was not."""
    folder = find_run(run)
    data = read(folder)
    if not data.get("job"):
        raise UsageError(f"{data['run']} is no job: it ran with --engine {data['engine']}", "./inv runs shows all runs")
    return folder, data


def login_of(data: dict[str, Any]) -> Host:
    """The host on which a run was submitted."""
    (login,) = load_hosts(data["inventory"], data["login"])
    return login
