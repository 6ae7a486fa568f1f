"""The `local` engine: each command as a process in the stack's venv on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gpulab import ready
from gpulab.leftovers import MARK, belonging
from gpulab.plan import Command, Plan
from gpulab.ports import free_port, is_free
from gpulab.processes import stop
from gpulab.resources import Sampler
from gpulab.watch import Watch

POLL = 0.2  # seconds between two looks at a running process


@dataclass
class Ended:
    """How a command ended: its exit status (None for a server that is up), and why it failed, if it did."""

    exit: int | None
    failure: str | None = None


class LocalEngine:
    """Carries out the commands of a plan one after another; servers run beside them until their last user is done."""

    name = "local"

    def __init__(self, plan: Plan, replan: Callable[[dict[str, int]], Plan], watch: Watch) -> None:
        self.plan = plan
        self._replan = replan
        self._watch = watch
        self._sampler = Sampler(plan.run / "resources.csv")
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def peaks(self) -> dict[str, dict[str, float]]:
        """Resource peaks by step."""
        return self._sampler.peaks

    def log(self, step: str) -> Path:
        """Where a step's output goes."""
        return self.plan.run / "logs" / f"{step}.log"

    def environment(self, command: Command) -> dict[str, str]:
        """The command's whole environment: this process's, the stack first on PATH, the plan's own on top."""
        path = f"{self.plan.stack.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
        return {**inherited, **command.env, "PATH": path, MARK: str(self.plan.run)}

    def carry_out(self, step: str) -> Ended:
        """Run a step to its end, or a server until it answers. Ctrl-C stops everything (see `closing`)."""
        command = self.plan.command(step)
        if command.port and not is_free(command.port):
            ports = {c.step: c.port for c in self.plan.commands if c.port}
            ports[step] = free_port(command.port + 1, taken=ports.values())
            self._watch.say(f"port {command.port} is taken, {step} serves on {ports[step]}")
            self.plan = self._replan(ports)
            command = self.plan.command(step)
        command.out.mkdir(parents=True, exist_ok=True)
        with self.log(step).open("wb") as log:
            try:
                process = subprocess.Popen(
                    command.argv, cwd=command.cwd, env=self.environment(command), stdin=subprocess.DEVNULL,
                    stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                return Ended(127, f"{command.argv[0]} can't be started: {error.strerror}")
        if command.ready:
            self._servers[step] = process
            return self._until_ready(command, process)
        try:
            while process.poll() is None:
                self._look(command, process)
                if dead := self._dead_server():
                    return Ended(None, f"the server {dead} ended while {step} needed it")
        finally:
            if process.poll() is None:
                stop([psutil.Process(process.pid)])
        return Ended(process.returncode)

    def let_go(self, step: str, keep: str | None = None) -> None:
        """Stop the servers whose last user was `step`, but not `keep`."""
        for server in list(self._servers):
            if self.plan.command(server).until == step and server != keep:
                self._stop_server(server)

    def serve_on(self, server: str) -> None:
        """Wait while `server` runs: until Ctrl-C, or until it ends by itself."""
        process = self._servers[server]
        while process.poll() is None:
            self._look(self.plan.command(server), process)

    def _until_ready(self, command: Command, process: subprocess.Popen[bytes]) -> Ended:
        assert command.ready and command.url  # noqa: S101 (only servers come here)
        deadline = time.monotonic() + command.ready.within
        while process.poll() is None:
            if ready.answers(command.url, command.ready.chat, timeout=15):
                return Ended(None)
            if time.monotonic() > deadline:
                return Ended(None, f"{command.step} did not answer within {command.ready.within:g} s")
            self._look(command, process)
        return Ended(process.returncode, f"the server {command.step} ended before it answered")

    def _look(self, command: Command, process: subprocess.Popen[bytes]) -> None:
        self._sampler.tick(command.step, [process.pid, *(s.pid for s in self._servers.values())])
        self._watch.look(command)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL)

    def _dead_server(self) -> str | None:
        return next((name for name, process in self._servers.items() if process.poll() is not None), None)

    def _stop_server(self, name: str) -> None:
        process = self._servers.pop(name)
        stop([psutil.Process(process.pid)] if process.poll() is None else [])
        process.wait()

    @contextlib.contextmanager
    def closing(self) -> Iterator[LocalEngine]:
        """Whatever happens inside, nothing that was started is left: servers, steps, what they started themselves."""
        before = signal.signal(signal.SIGTERM, _as_interrupt)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)
            patient = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C does not interrupt the cleaning up
            try:
                for server in list(self._servers):
                    self._stop_server(server)
                stop(belonging(self.plan.run))
                self._sampler.close()
            finally:
                signal.signal(signal.SIGINT, patient)


def _as_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
