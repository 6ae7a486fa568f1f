"""`inv attach`, `inv cancel`, `inv queue`: runs on hosts, which go on without their inv."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

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
from gpulab.plan.plan import Command, Plan
from gpulab.records.read import find_run, read
from gpulab.records.record import GOING, RUNNING, RunRecord, State, StepRecord
from gpulab.records.writer import RunFolder, Writer, active_mark, end
from gpulab.runs.lab_run import LabRun
from gpulab.runs.spec import RunSpec

JOBS = {"job": "%i", "user": "%u", "name": "%j", "state": "%T", "since": "%M", "nodes": "%D", "where or why": "%R"}
NODES = {"node": "%N", "state": "%t", "gpus": "%G", "cpus": "%C", "why": "%E"}

CURES = {"running": "watch", "done": "show"}  # of a run on this machine; of one that broke: resume


def attach(run: str) -> Outcome:
    """Follow a run again, from its first line on. Raises UsageError where there is nothing to follow: where a step's
    containers are gone, too, which would be carried out a second time."""
    folder, record = find_remote_run(run)
    spec = RunSpec.again(record, f"following {record.run} again")
    if record.job:  # the job's journal tells of all its steps
        engine: Backend = SlurmBackend(
            spec.stack, spec.compute_nodes[0], login_of(record), requeue=record.requeue, job=record.job
        )
        done = [entry for entry in record.steps if entry.taken_over_from]
    else:
        engine = RemoteBackend(spec.stack, spec.compute_nodes, attaches=True)
        engine.prepare()
        with suppress(Timeout):  # an inv follows it
            refuse_lost(folder, record, spec.plan(folder), engine.is_there)
        done = over(record.steps, spec, keep_serving=record.keep_serving)
    taken = record.taken_over or Taken()
    spec = replace(spec, engine=engine)
    planned = spec.plan(folder)
    begun = {entry.step: entry.started for entry in record.steps}
    held = RunFolder(folder)
    held.take()
    record.state, record.steps, record.failures = RUNNING, done, []
    return LabRun(Writer(held, record), spec, planned, taken=taken, begun=begun).carry_out()


def refuse_lost(folder: Path, record: RunRecord, planned: Plan, is_there: Callable[[Plan, Command], bool]) -> None:
    """Close a run whose last step was begun and has no container any more, and raise UsageError: its inv was ended
    after it had removed them, and before it could say so."""
    last = record.steps[-1] if record.steps else None
    if last is None or last.state == "done" or last.step not in planned.steps:
        return
    if any(is_there(planned, command) for command in planned.ranks(last.step)):
        return
    why = f"nothing of {last.step} is left on {', '.join(record.hosts)}"
    state: State = "failed" if last.state == "failed" else "interrupted"
    with FileLock(active_mark(folder), timeout=0):
        end(folder, record, state, record.failures[0] if last.state == "failed" and record.failures else why)
    active_mark(folder).unlink(missing_ok=True)
    raise UsageError(f"{why}: {record.run} is over, {state}", f"./inv resume {record.run}")


def over(entries: list[StepRecord], spec: RunSpec, *, keep_serving: bool) -> list[StepRecord]:
    """The steps that are done; a server only with its last user, since others still need it, or who it is kept for."""
    done = [entry for entry in entries if entry.state == "done"]
    names = {entry.step for entry in done}
    until = {c.step: c.until for c in spec.plan(Path()).commands if c.ready}
    if keep_serving and until:
        until[list(until)[-1]] = "its user, who will press Ctrl-C"
    return [entry for entry in done if until.get(entry.step, entry.step) in names]


def cancel(run: str) -> Outcome:
    """End a run, also one that nobody follows. Raises UsageError where there is none, or its queue does not answer."""
    folder, record = find_remote_run(run)
    if job := record.job:
        ask_login(login_of(record), ["scancel", job])
        failures: list[str] = []
        said = f"job {job} is cancelled"
    else:
        failures = remove_everywhere(record, folder)
        said = f"what {record.run} had on {', '.join(record.hosts)} is removed"
    if not failures:
        try:
            with FileLock(active_mark(folder), timeout=0):
                end(folder, record, "interrupted", f"it was cancelled: {said}")
            active_mark(folder).unlink(missing_ok=True)
        except Timeout:
            pass  # an inv follows it, and closes its record
    outcome = {"run": record.run} | ({"job": job} if job else {})
    return Outcome(outcome, failures=failures, text=None if failures else Text(said))


def remove_everywhere(record: RunRecord, folder: Path) -> list[str]:
    """Remove a run's containers on all its hosts; which of them could not be asked, and why."""

    def one(host: Host) -> str | None:
        docker = engine_of(host)
        try:
            docker.run("version", timeout=30)
        except UsageError as error:
            return f"{error.message}; {record.run} may go on there: cancel it again"
        remove_run(docker, folder)
        return None

    hosts = load_hosts(record.inventory, ",".join(record.hosts))
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
    rows = [line.replace("(null)", "").split("|") for line in said.splitlines()]
    return [dict(zip(columns, row, strict=False)) for row in rows]


def find_remote_run(run: str) -> tuple[Path, RunRecord]:
    """A run that goes on without an inv, and its record. Raises UsageError where it does not, or is over."""
    folder = find_run(run)
    record = read(folder)
    if not record.hosts:
        raise UsageError(
            f"{record.run} ran on this machine with --engine {record.engine}, and ends with its inv",
            f"./inv {CURES.get(record.state, 'resume')} {record.run}",
        )
    if record.state not in GOING:
        raise UsageError(f"{record.run} is over: {record.state}", f"./inv show {record.run}")
    return folder, record


def login_of(record: RunRecord) -> Host:
    """The host on which a run was submitted."""
    (login,) = load_hosts(record.inventory, record.login)
    return login
