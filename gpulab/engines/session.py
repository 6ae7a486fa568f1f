"""One run on a backend: a plan's steps one after another, servers beside them, everything stopped at the end."""

from __future__ import annotations

import dataclasses
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from gpulab.checks import verdict as checks
from gpulab.common.errors import UsageError
from gpulab.common.ports import free_port
from gpulab.common.resources import Sampler
from gpulab.engines.backend import Backend, CannotStart, Job, StepBackend, log_of, question
from gpulab.engines.ended import Ended
from gpulab.engines.interrupts import as_interrupt, ignored
from gpulab.engines.node_group import POLL, NodeGroup
from gpulab.engines.progress import Watch
from gpulab.engines.servers import Servers
from gpulab.inside import ready
from gpulab.inside.resume_files import ResumeRequest, Taken, bring
from gpulab.plan.plan import Command, Plan
from gpulab.plan.resume_flags import carried_out

Replan = Callable[[dict[str, int]], Plan]


class Session(ABC):
    """One run on a backend. When it is made the run's files are where its steps will be; when that fails, or is
    interrupted, nothing is left of what it began."""

    def __init__(self, backend: Backend, plan: Plan, watch: Watch, *, resume: ResumeRequest | None, taken: Taken):
        """`resume`: what there is of the run that this one resumes; `taken`: what was taken of it already."""
        self._on = backend
        self.watch = watch
        self.plan = dataclasses.replace(plan, resumes=bool(resume or taken.next))
        self.taken = taken
        self._opened = ExitStack()
        try:
            backend.lay_ground(self.plan)
            if resume:
                self.taken = self._take_over(resume)
            self.sampler = Sampler(plan.run / "resources.csv", self._opened.enter_context(backend.gpus()))
        except BaseException:
            self._opened.close()
            self._leave_nothing()
            raise
        self._opened.callback(self.sampler.close)
        self._opened.callback(backend.sweep, plan.run)

    @abstractmethod
    def carry_out(self, step: str) -> Ended:
        """Run a step to its end, or a server until it answers. Ctrl-C stops everything (see `closing`)."""

    @abstractmethod
    def judge(self, command: Command) -> checks.Judgement:
        """Did the step make and prove what it claims?"""

    @abstractmethod
    def let_go(self, step: str, keep: str | None = None) -> None:
        """The step is done and on record: stop the servers whose last user it was, but not `keep`."""

    @abstractmethod
    def serve_on(self, server: str) -> None:
        """Wait while `server` runs: until Ctrl-C, or until it ends by itself."""

    def remembered(self) -> dict[str, Any]:
        """What the record keeps so that a later inv finds the run again."""
        return {}

    def ranks(self, step: str) -> tuple[Command, ...]:
        """The commands of a step as they are carried out: a resumed one goes on from its checkpoint."""
        return carried_out(self.plan, step, self.taken)

    def command(self, step: str) -> Command:
        """The first of a step's commands."""
        return self.ranks(step)[0]

    def lasted(self, step: str) -> float | None:
        """How many seconds a step took, where that is known better than by a clock that began when it was attached."""
        return self._on.lasted(self.plan, self.command(step))

    @property
    def peaks(self) -> dict[str, dict[str, float]]:
        """Resource peaks by step."""
        return self.sampler.peaks

    def log(self, name: str) -> Path:
        """Where a step's, or a node's, output goes."""
        return log_of(self.plan, name)

    def question(self, command: Command) -> checks.Question:
        """What is to be judged of a finished command."""
        return question(self.plan, command)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Whatever happens inside, nothing that was started is left: servers, steps, what they started themselves."""
        before = signal.signal(signal.SIGTERM, as_interrupt)
        try:
            yield
        finally:
            self.close()
            signal.signal(signal.SIGTERM, before)

    def close(self) -> None:
        """Stop all that is left; a second Ctrl-C does not interrupt it."""
        with ignored():
            self._opened.close()

    def _leave_nothing(self) -> None:
        """Where the steps would have been nothing is left of a run that has not begun."""
        if self._on.attaches:
            return
        with ignored():
            self._on.sweep(self.plan.run)
            with suppress(UsageError):  # its host can't be asked any more
                self._on.discard(self.plan)

    def _take_over(self, resume: ResumeRequest) -> Taken:
        taken = self._on.take_over(self.plan, resume)
        for step in taken.steps:
            for log in sorted((resume.old / "logs").glob(f"{step}.log")):
                bring(log, resume.new / "logs" / log.name)
        return taken


class StepSession(Session):
    """Starts each step itself, and stops it."""

    def __init__(
        self, backend: StepBackend, plan: Plan, replan: Replan, watch: Watch, *, resume: ResumeRequest | None = None,
        taken: Taken | None = None,
    ) -> None:  # fmt: skip
        """`replan` makes the plan anew for other ports."""
        super().__init__(backend, plan, watch, resume=resume, taken=taken or Taken())
        self._backend = backend
        self._replan = replan
        self._servers = Servers()
        self._opened.callback(self._servers.stop_all)

    def carry_out(self, step: str) -> Ended:
        """See Session."""
        ended = self._run(self._on_a_free_port(step))
        if not self.plan.command(step).ready:
            self._backend.fetch(self.plan, step)
        return ended

    def judge(self, command: Command) -> checks.Judgement:
        """See Session."""
        return self._backend.judge(self.plan, self.question(command))

    def let_go(self, step: str, keep: str | None = None) -> None:
        """See Session; what is left of what is over goes only now: who attaches may still have to ask it."""
        over = [name for name in self._servers.names() if self.plan.command(name).until == step and name != keep]
        for server in over:
            self._servers.stop(server)
        over += [] if self.plan.command(step).ready else [step]
        self._backend.remove(self.plan, [command for name in over for command in self.plan.ranks(name)])

    def serve_on(self, server: str) -> None:
        """See Session."""
        job = self._servers.job(server)
        while job.poll() is None:
            self._look(self.plan.command(server), job)

    def _run(self, command: Command) -> Ended:
        command.out.mkdir(parents=True, exist_ok=True)
        if command.rank is not None:
            return NodeGroup(self._backend, self.plan, self.ranks(command.step), self.sampler, self.watch).run()
        try:
            job = self._backend.start(self.plan, command)
        except CannotStart as error:
            return Ended(127, str(error))
        if command.ready:
            self._servers.add(command.step, job)
            return self._until_ready(command, job)
        try:
            while (status := job.poll()) is None:
                self._look(command, job)
                if dead := self._servers.dead():
                    return Ended(None, f"the server {dead} ended while {command.step} needed it")
        finally:
            job.stop()
        return Ended(status)

    def _on_a_free_port(self, step: str) -> Command:
        command = self.command(step)
        if not command.port or self._backend.is_there(self.plan, command):
            return command
        ports = {c.step: c.port for c in self.plan.commands if c.port}
        while not (held := self._backend.hold(ports[step])):
            ports[step] = free_port(ports[step] + 1, taken=ports.values())
        self._opened.enter_context(held)
        if ports[step] == command.port:
            return command
        self.watch.say(f"port {command.port} is taken, {step} serves on {ports[step]}")
        self.plan = dataclasses.replace(self._replan(ports), resumes=self.plan.resumes)
        return self.command(step)

    def _until_ready(self, command: Command, job: Job) -> Ended:
        assert command.ready  # noqa: S101 (only servers come here)
        deadline = time.monotonic() + command.ready.within
        while (status := job.poll()) is None:
            if self._backend.answers(self.plan, command, ready.PATIENCE):
                return Ended(None)
            if time.monotonic() > deadline:
                return Ended(None, f"{command.step} did not answer within {command.ready.within:g} s")
            self._look(command, job)
        return Ended(status, f"the server {command.step} ended before it answered")

    def _look(self, command: Command, job: Job) -> None:
        self.sampler.tick(command.step, self._servers.beside(job))
        self._backend.fetch_progress(self.plan, command)
        self.watch.look(command)
        job.wait(POLL)
