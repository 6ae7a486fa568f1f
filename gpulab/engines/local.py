"""The `local` engine: each command as a process in the stack's venv on this machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from gpulab.common.ports import free_port
from gpulab.common.processes import MARK, Meter, belonging, stop
from gpulab.common.resources import Usage
from gpulab.engines.backend import CannotStart, StepBackend, log_of
from gpulab.engines.foreground import in_foreground
from gpulab.engines.warm import PROGRAMS, SHARED, Warm, imports
from gpulab.inside import ready
from gpulab.inside.forks import Forked
from gpulab.plan.layers import environment
from gpulab.plan.plan import RENDEZVOUS, Command, Node, Plan
from gpulab.plan.script import LocalShell
from gpulab.stacks.stack import Stack


class ProcessJob:
    """A process with all that it started."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked) -> None:
        self._process = process
        self._meter = Meter(process.pid)

    def poll(self) -> int | None:
        """See Job."""
        return self._process.poll()

    def wait(self, seconds: float) -> None:
        """See Job."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def stop(self) -> None:
        """See Job."""
        if self._process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ends at this moment
                stop([psutil.Process(self._process.pid)])
        self._process.wait()

    def usage(self) -> Usage:
        """See Job."""
        return self._meter.read()

    def lost(self) -> str | None:
        """See Job; a process of our own is never out of sight."""
        return None


class LocalBackend(StepBackend):
    """See Backend; the stack is a venv, and steps may have others. Steps of a rehearsal are forks of one process, where
    they can be: those of the plan's stack."""

    name = "local"

    def __init__(self, stack: Stack, others: Iterable[Stack] = ()) -> None:
        super().__init__(stack)
        self._others = {other.name: other for other in others}
        self._warm: dict[str, Warm] = {}  # by the program whose imports it has

    def prepare(self) -> None:
        """See Backend."""
        for stack in (self.stack, *self._others.values()):
            stack.ensure()

    def lacks(self, plan: Plan) -> Command | None:
        """See Backend."""
        named = [command for command in plan.commands if not Path(command.argv[0]).is_absolute()]
        return next((c for c in named if not (plan.stack_of(c).bin / c.argv[0]).exists()), None)

    def described(self) -> dict[str, Any]:
        """See Backend."""
        about = {"packages": self.stack.packages(), "torch_sha256": self.stack.torch_sha256}
        others = {name: {"lock": other.key, "packages": other.packages()} for name, other in self._others.items()}
        return {**about, "others": others} if others else about

    def shell(self, plan: Plan) -> LocalShell:
        """See Backend."""
        return LocalShell(plan)

    def nodes(self, count: int) -> list[Node]:
        """See Backend; all on this machine, which is enough to rehearse."""
        return [Node(f"this machine, {rank}", "127.0.0.1", "lo") for rank in range(count)]

    def rendezvous(self) -> str:
        """See Backend; another run on this machine may hold the usual one, or be about to: each looks from a place of
        its own."""
        return str(free_port(int(RENDEZVOUS) + os.getpid() % 180))

    def lay_ground(self, plan: Plan) -> None:
        """See Backend; what takes seconds to import is imported while the first steps run."""
        if plan.profile == "cpu":
            usual = [command.argv[0] for command in plan.commands if not command.stack]
            wanted = {PROGRAMS[program] for program in usual if program in PROGRAMS}
            self._warm = {program: self.warm_up(program) for program in sorted(wanted)}

    def warm_up(self, program: str = "swift") -> Warm:
        """A process that has ms-swift imported, in the environment of most steps of a rehearsal."""
        return Warm(self.stack, stack_environment(self.stack, environment(self.stack, cpu=True)), program)

    def start(self, plan: Plan, command: Command) -> ProcessJob:
        """See Backend."""
        env = {**stack_environment(plan.stack_of(command), command.env), MARK: str(plan.run)}
        log_of(plan, command.name).write_bytes(b"")
        warm = None if command.stack else self._warm.get(imports(command))
        if warm and (forked := warm.fork(command, env, log_of(plan, command.name))):
            return ProcessJob(forked)
        with log_of(plan, command.name).open("ab") as log:
            try:
                process = subprocess.Popen(
                    command.argv, cwd=command.cwd, env=env, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise CannotStart(f"{command.argv[0]} can't be started: {error.strerror}") from None
        return ProcessJob(process)

    def answers(self, plan: Plan, command: Command, timeout: float) -> bool:
        """See Backend."""
        assert command.ready and command.url  # noqa: S101 (only servers are asked)
        return ready.answers(command.url, command.ready.chat, timeout=timeout)

    def foreground(self, plan: Plan, command: Command) -> int:
        """See Backend."""
        return in_foreground(command.argv, stack_environment(plan.stack_of(command), command.env), command.cwd)

    def sweep(self, run: Path) -> None:
        """See Backend; by the mark in the processes' environment."""
        stop(belonging(run))
        for warm in self._warm.values():
            warm.end()


def stack_environment(stack: Stack, own: Mapping[str, str]) -> dict[str, str]:
    """A command's whole environment: this process's, the stack first on PATH, its own on top."""
    path = f"{stack.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    ours = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", SHARED)
    return {**{k: v for k, v in os.environ.items() if k not in ours}, **own, "PATH": path}
