"""`inv attach`, `inv cancel`, `inv queue`: runs on hosts, which go on without their inv."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.text import Text

from gpulab.common.docker import remove_run
from gpulab.common.errors import UsageError
from gpulab.common.listing import listing
from gpulab.common.outcome import Outcome
from gpulab.engines import Backend
from gpulab.engines.remote import RemoteBackend
from gpulab.engines.slurm import SlurmBackend
from gpulab.hosts.engines import engine_of
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.login import ask_login, login_host
from gpulab.inside.resume_files import Taken
from gpulab.records.record import DETACHED, RUNNING, Record, active_mark, find_run, now, read, write_atomically
from gpulab.runs.execute import LabRun
from gpulab.runs.spec import Order

JOBS = {"job": "%i", "user": "%u", "name": "%j", "state": "%T", "since": "%M", "nodes": "%D", "where or why": "%R"}
NODES = {"node": "%N", "state": "%t", "gpus": "%G", "cpus": "%C", "why": "%E"}


def attach(run: str) -> Outcome:
    """Follow a run again, from its first line on. Raises UsageError where there is nothing to follow."""
    folder, data = find_remote_run(run)
    order = Order.again(data, f"following {data['run']} again")
    keep_serving = data.get("keep_serving", False)
    if data.get("job"):  # the job's journal tells of all its steps
        engine: Backend = SlurmBackend(
            order.stack, order.compute_nodes[0], login_of(data), requeue=data["requeue"], job=data["job"]
        )
        done = [entry for entry in data["steps"] if "taken_over_from" in entry]
    else:
        engine = RemoteBackend(order.stack, order.compute_nodes, attaches=True)
        engine.prepare()
        done = over(data["steps"], order, keep_serving=keep_serving)
    order = replace(order, engine=engine)
    record = Record.reopen(folder, {**data, "state": RUNNING, "steps": done, "failures": []})
    begun = {entry["step"]: entry["started"] for entry in data["steps"]}
    planned = order.plan(folder)
    taken = Taken(**data.get("taken_over", {}))
    return LabRun(record, order, planned, keep_serving=keep_serving, taken=taken, begun=begun).carry_out()


def over(entries: list[dict[str, Any]], order: Order, *, keep_serving: bool) -> list[dict[str, Any]]:
    """The steps that are done; a server only with its last user, since others still need it, or who it is kept for."""
    done = [entry for entry in entries if entry["state"] == "done"]
    names = {entry["step"] for entry in done}
    until = {c.step: c.until for c in order.plan(Path()).commands if c.ready}
    if keep_serving and until:
        until[list(until)[-1]] = "its user, who will press Ctrl-C"
    return [entry for entry in done if until.get(entry["step"], entry["step"]) in names]


def cancel(run: str) -> Outcome:
    """End a run, also one that nobody follows. Raises UsageError where there is none, or its queue does not answer."""
    folder, data = find_remote_run(run)
    if job := data.get("job"):
        ask_login(login_of(data), ["scancel", job])
        failures: list[str] = []
        said = f"job {job} is cancelled"
    else:
        failures = remove_everywhere(data, folder)
        said = f"what {data['run']} had on {', '.join(data['hosts'])} is removed"
    if not failures:
        try:
            with FileLock(active_mark(folder), timeout=0):
                data |= {"state": "interrupted", "ended": now(), "failures": ["it was cancelled: " + said]}
                write_atomically(folder / "run.json", json.dumps(data, indent=1) + "\n")
            active_mark(folder).unlink(missing_ok=True)
        except Timeout:
            pass  # an inv follows it, and closes its record
    outcome = {"run": data["run"]} | ({"job": job} if job else {})
    return Outcome(outcome, failures=failures, text=None if failures else Text(said))


def remove_everywhere(data: dict[str, Any], folder: Path) -> list[str]:
    """Remove a run's containers on all its hosts; which of them could not be asked, and why."""

    def one(host: Host) -> str | None:
        docker = engine_of(host)
        try:
            docker.run("version", timeout=30)
        except UsageError as error:
            return f"{error.message}; {data['run']} may go on there: cancel it again"
        remove_run(docker, folder)
        return None

    hosts = load_hosts(data["inventory"], ",".join(data["hosts"]))
    with ThreadPoolExecutor(len(hosts)) as pool:
        return [why for why in pool.map(one, hosts) if why]


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


def find_remote_run(run: str) -> tuple[Path, dict[str, Any]]:
    """A run that goes on without an inv, and its record. Raises UsageError where it does not, or is over."""
    folder = find_run(run)
    data = read(folder)
    if not data["hosts"]:
        raise UsageError(
            f"{data['run']} ran on this machine with --engine {data['engine']}, and ends with its inv",
            f"./inv resume {data['run']}, or ./inv runs",
        )
    if data["state"] not in (RUNNING, DETACHED):
        raise UsageError(f"{data['run']} is over: {data['state']}", f"./inv show {data['run']}")
    return folder, data


def login_of(data: dict[str, Any]) -> Host:
    """The host on which a run was submitted."""
    (login,) = load_hosts(data["inventory"], data["login"])
    return login
