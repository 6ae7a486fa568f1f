"""What every engine does: carry out a Plan's steps in order, servers beside them, everything stopped at the end."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from gpulab.checks import verdict as checks
from gpulab.common.paths import runs_dir, shown
from gpulab.common.ports import free_port, is_free
from gpulab.common.resources import Sampler, Usage, this_machines_gpus
from gpulab.engines.interrupts import as_interrupt, ignored
from gpulab.engines.progress import Watch
from gpulab.engines.rank_logs import RankLogs
from gpulab.inside import ready
from gpulab.inside.resume_files import ResumeRequest, Taken, bring
from gpulab.plan.plan import RENDEZVOUS, Command, Network, Node, Plan
from gpulab.plan.resume_flags import going_on
from gpulab.plan.script import Shell
from gpulab.stacks.stack import Stack

# SIGKILL, of a container, of a process, of one below the `swift` command: by hand, or for want of memory.
KILLED = (137, -9, 247)
# What torchrun says of a rank that did not end by itself; its own status is 1.
RANK_KILLED = re.compile(r"Signal \d+ \((SIG(?!TERM|INT)\w+)\) received by PID|exitcode\s*: 247\b")
POLL = 0.2  # seconds between two looks at a running command
SETTLE = 2.0  # seconds between the first bad end of a node and the verdict on which it began with
QUIET = 60.0  # seconds without a line from any node after which it is asked whether they reach each other still
SILENCE = 900.0  # seconds without a line from any node after which a spread step is given up


class CannotStart(Exception):
    """A command did not even begin; the message says why."""


class Job(Protocol):
    """One command that was started."""

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as it ended."""

    def stop(self) -> None:
        """End it and all that it started; nothing happens when it has ended."""

    def usage(self) -> Usage:
        """What it uses now."""

    def lost(self) -> str | None:
        """Why nothing is known of it any more, in a few words; None while something is."""


@dataclass
class Ended:
    """How a step ended: its exit status (None for a server that is up), why it failed, if it did, and the log that
    says so where it is not the step's own."""

    exit: int | None
    failure: str | None = None
    log: Path | None = None


class Engine(ABC):
    """Carries out the commands of a plan one after another; servers run beside them until their last user is done."""

    name: ClassVar[str]
    network: ClassVar[Network] = Network()

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.plan: Plan
        self.taken = Taken()
        self._resume_request: ResumeRequest | None = None
        self._servers: dict[str, Job] = {}

    @abstractmethod
    def prepare(self) -> None:
        """Have the stack at hand. Raises UsageError when it can't be had."""

    @abstractmethod
    def lacks(self, programs: Sequence[str]) -> str | None:
        """The first of `programs` that the stack does not have."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What the record says about it and its stack."""

    @abstractmethod
    def shell(self, plan: Plan) -> Shell:
        """How a plan's commands look in a script."""

    @abstractmethod
    def start(self, command: Command) -> Job:
        """Start one command, its output to `log(command.name)`. Raises CannotStart."""

    @abstractmethod
    def nodes(self, count: int) -> list[Node]:
        """The nodes of a spread step. Raises UsageError where there are not so many."""

    def rendezvous(self) -> str:
        """The port on which the ranks of a step meet."""
        return RENDEZVOUS

    @abstractmethod
    def answers(self, command: Command, timeout: float) -> bool:
        """Whether a server completes a chat within `timeout` seconds."""

    @abstractmethod
    def sweep(self) -> None:
        """Stop whatever of this run is left, also what escaped its step."""

    def begin(
        self,
        plan: Plan,
        replan: Callable[[dict[str, int]], Plan],
        watch: Watch,
        resume_request: ResumeRequest | None = None,
    ) -> None:
        """Take on a plan; `replan` makes it anew for other ports. `resumes`: what there is of the run it resumes."""
        self.plan = plan
        self._replan = replan
        self._watch = watch
        self._resume_request = resume_request
        self._sampler = Sampler(plan.run / "resources.csv", self.gpus())
        self.lay_ground()
        if resume_request:
            self.taken = self.take_over(resume_request)
            for step in self.taken.steps:
                for log in sorted((resume_request.old / "logs").glob(f"{step}.log")):
                    bring(log, resume_request.new / "logs" / log.name)

    def lay_ground(self) -> None:  # noqa: B027 (on this machine they are there)
        """Have the run's files where its steps will be. Raises UsageError where steps could not run."""

    def take_over(self, resume_request: ResumeRequest) -> Taken:
        """Take over what another run has done."""
        return resume_request.carry_out()

    def ranks(self, step: str) -> tuple[Command, ...]:
        """The commands of a step as they are carried out: a resumed one goes on from its checkpoint."""
        commands = self.plan.ranks(step)
        if step != self.taken.next or not self.taken.checkpoint:
            return commands
        return tuple(going_on(c, c.out / self.taken.checkpoint) for c in commands)

    def command(self, step: str) -> Command:
        """The first of a step's commands."""
        return self.ranks(step)[0]

    def lasted(self, step: str) -> float | None:
        """How many seconds a step took, where the engine knows better than a clock that began when it was attached."""
        return None

    def remembered(self) -> dict[str, Any]:
        """What the record keeps so that a later inv finds the run again."""
        return {}

    @property
    def peaks(self) -> dict[str, dict[str, float]]:
        """Resource peaks by step."""
        return self._sampler.peaks

    def log(self, name: str) -> Path:
        """Where a step's, or a node's, output goes."""
        return self.plan.run / "logs" / f"{name}.log"

    def said(self, name: str) -> str:
        """All that a step, or a node, has said so far."""
        log = self.log(name)
        return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""

    def judge(self, command: Command) -> checks.Judgement:
        """Did the step make and prove what it claims?"""
        return checks.judge(self.question(command))

    def question(self, command: Command) -> checks.Question:
        """What is to be judged of a finished command."""
        return checks.Question(
            step=command.step, out=command.out, log=self.log(command.step), run=self.plan.run, model=self.plan.model,
            makes=command.makes, proves=command.proves, world=command.world,
        )  # fmt: skip

    def carry_out(self, step: str) -> Ended:
        """Run a step to its end, or a server until it answers. Ctrl-C stops everything (see `closing`)."""
        command = self._on_a_free_port(step)
        command.out.mkdir(parents=True, exist_ok=True)
        if command.rank is not None:
            return self._together(self.ranks(step))
        try:
            job = self.start(command)
        except CannotStart as error:
            return Ended(127, str(error))
        if command.ready:
            self._servers[step] = job
            return self._until_ready(command, job)
        try:
            while (status := job.poll()) is None:
                self._look(command, job)
                if dead := self._dead_server():
                    return Ended(None, f"the server {dead} ended while {step} needed it")
        finally:
            job.stop()
        return Ended(status)

    def _together(self, commands: Sequence[Command]) -> Ended:
        """Run a spread step on all its nodes; the first that fails ends it on all."""
        logs = RankLogs({rank: self.log(c.name) for rank, c in enumerate(commands)}, self.log(commands[0].step))
        with ThreadPoolExecutor(len(commands)) as pool:
            starting = [pool.submit(self.start, command) for command in commands]
            try:
                for command, begun in zip(commands, starting, strict=True):
                    if isinstance(error := begun.exception(), CannotStart):
                        return Ended(127, f"{error} (on {command.node})")
                return self._until_all_end(
                    commands, {rank: begun.result() for rank, begun in enumerate(starting)}, logs
                )
            finally:
                list(pool.map(lambda job: job.stop(), [b.result() for b in starting if not b.exception()]))
                self._watch.lines(logs.follow())

    def _until_all_end(self, commands: Sequence[Command], jobs: Mapping[int, Job], logs: RankLogs) -> Ended:
        first, asked = commands[0], 0.0
        while running := [job for job in jobs.values() if job.poll() is None]:
            self._sampler.tick(first.step, list(jobs.values()))
            self._watch.look(first)
            self._watch.lines(logs.follow())
            if seen := [rank for rank, job in jobs.items() if job.poll()]:
                self._settle(jobs)
                return self._failed(commands, jobs, seen[0])
            quiet = time.monotonic() - logs.last_word
            if quiet > SILENCE:
                return Ended(None, f"no node of {first.step} said a word for {SILENCE:.0f} s")
            if quiet > QUIET and time.monotonic() - asked > QUIET:
                asked = time.monotonic()
                if apart := self.apart(commands):
                    return Ended(None, f"{apart}; the nodes of {first.step} were stopped")
            running[0].wait(POLL)
        bad = [rank for rank, job in jobs.items() if job.poll()]
        return self._failed(commands, jobs, bad[0]) if bad else Ended(0)

    def apart(self, commands: Sequence[Command]) -> str | None:
        """Which nodes of a spread step do not reach each other any more; None while all do, or nobody knows."""
        return None

    def _settle(self, jobs: Mapping[int, Job]) -> None:
        """After the first bad end wait a moment for the others': the news of the one it began with may come later."""
        deadline = time.monotonic() + SETTLE
        while time.monotonic() < deadline and (running := [job for job in jobs.values() if job.poll() is None]):
            running[0].wait(POLL)

    def _failed(self, commands: Sequence[Command], jobs: Mapping[int, Job], seen: int) -> Ended:
        """How the step failed, named by the node that it began with: one that was lost, else one that was killed (the
        others then fail for want of it), else the one that was `seen` to end badly first."""
        lost = {rank: why for rank, job in jobs.items() if (why := job.lost())}
        bad = {rank: status for rank, job in jobs.items() if (status := job.poll())}
        found = {rank: RANK_KILLED.search(self.said(commands[rank].name)) for rank in bad}
        by = {rank: match[1] or "SIGKILL" for rank, match in found.items() if match}
        killed = [rank for rank, status in bad.items() if status in KILLED]
        rank = next(iter([*lost, *killed, *by, seen]))
        how = lost.get(rank) or f"ended with exit {bad[rank]}" + (f", a rank of it by {by[rank]}" if rank in by else "")
        others = [f"node {r} ({commands[r].node}) with exit {s}" for r, s in bad.items() if r != rank]
        after = f"; after that {', '.join(others)}" if others else ""
        text = f"node {rank} ({commands[rank].node}) of {commands[rank].step} {how}{after}; the others were stopped"
        return Ended(bad.get(rank), text, self.log(commands[rank].name))

    def let_go(self, step: str, keep: str | None = None) -> list[str]:
        """The step is done and on record: stop the servers whose last user it was, but not `keep`. What is over now."""
        over = [name for name in self._servers if self.plan.command(name).until == step and name != keep]
        for server in over:
            self._servers.pop(server).stop()
        return over if self.plan.command(step).ready else [step, *over]

    def serve_on(self, server: str) -> None:
        """Wait while `server` runs: until Ctrl-C, or until it ends by itself."""
        job = self._servers[server]
        while job.poll() is None:
            self._look(self.plan.command(server), job)

    def gpus(self) -> Callable[[], tuple[float, float]]:
        """A function that reads the GPUs' mean utilization in percent and their memory in use in MiB."""
        return this_machines_gpus()

    def room(self) -> tuple[str, float]:
        """Where a run's files go, and the GiB that are free there."""
        parent = next(p for p in (runs_dir(), *runs_dir().parents) if p.is_dir())
        return shown(parent), shutil.disk_usage(parent).free / 2**30

    def reach(self, command: Command) -> str:
        """Where a server can be reached, for people."""
        return str(command.url)

    def is_free(self, port: int) -> bool:
        """Whether a server could take the port now."""
        return is_free(port)

    def _on_a_free_port(self, step: str) -> Command:
        command = self.command(step)
        if command.port and not self.is_free(command.port):
            ports = {c.step: c.port for c in self.plan.commands if c.port}
            ports[step] = free_port(command.port + 1, taken=ports.values())
            self._watch.say(f"port {command.port} is taken, {step} serves on {ports[step]}")
            self.plan = self._replan(ports)
            command = self.command(step)
        return command

    def _until_ready(self, command: Command, job: Job) -> Ended:
        assert command.ready  # noqa: S101 (only servers come here)
        deadline = time.monotonic() + command.ready.within
        while (status := job.poll()) is None:
            if self.answers(command, ready.PATIENCE):
                return Ended(None)
            if time.monotonic() > deadline:
                return Ended(None, f"{command.step} did not answer within {command.ready.within:g} s")
            self._look(command, job)
        return Ended(status, f"the server {command.step} ended before it answered")

    def _look(self, command: Command, job: Job) -> None:
        self._sampler.tick(command.step, [job, *(s for s in self._servers.values() if s is not job)])
        self._watch.look(command)
        job.wait(POLL)

    def _dead_server(self) -> str | None:
        return next((name for name, job in self._servers.items() if job.poll() is not None), None)

    @contextlib.contextmanager
    def closing(self) -> Iterator[Engine]:
        """Whatever happens inside, nothing that was started is left: servers, steps, what they started themselves."""
        before = signal.signal(signal.SIGTERM, as_interrupt)
        try:
            yield self
        finally:
            with ignored():
                for server in list(self._servers):
                    self._servers.pop(server).stop()
                self.sweep()
                self._sampler.close()
            signal.signal(signal.SIGTERM, before)
