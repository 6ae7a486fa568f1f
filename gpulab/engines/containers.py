"""A run's containers, on this machine's engine or on the hosts': started, followed, asked, removed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpulab.common.docker import RUN, Docker
from gpulab.common.errors import UsageError
from gpulab.engines.backend import CannotStart, log_of
from gpulab.engines.container_job import ContainerJob
from gpulab.engines.foreground import in_foreground
from gpulab.plan.container import Place, container_name, network_name, run_words
from gpulab.plan.plan import Command, Plan
from gpulab.plan.script import READY

# Seconds that a server which does not answer yet is waited for inside: to be asked anew from here costs more than that.
WAITS = 3
DOCKERS_OWN = 125  # the exit status of `docker run` when it has not come to a program


class Containers:
    """The containers of commands: `docker_of` says on which engine one runs, `place` how."""

    def __init__(self, docker_of: Callable[[Command], Docker], place: Callable[[Plan, Command], Place]) -> None:
        self.docker_of, self.place = docker_of, place
        self._one_at_a_time = threading.Lock()

    def start(self, plan: Plan, command: Command) -> ContainerJob:
        """Start a command's container. Raises CannotStart."""
        docker = self.docker_of(command)
        try:
            place = self.place(plan, command)
            if place.fabric is None:
                self._have_network(docker, plan)
            docker.run("run", "--detach", *run_words(command, plan, place), timeout=300)
        except UsageError as error:
            raise CannotStart(f"{command.name} can't be started: {error.message} ({error.cure})") from None
        return self.follow(plan, command)

    def foreground(self, plan: Plan, command: Command) -> int:
        """A command's container with this terminal; its exit status. Raises UsageError where it can't be started. It is
        there until the run's end, to be asked why."""
        docker, place = self.docker_of(command), self.place(plan, command)
        if place.fabric is None:
            self._have_network(docker, plan)
        typed = ["--interactive", *(["--tty"] if os.isatty(0) and os.isatty(1) else [])]
        argv = docker.argv("run", *typed, *run_words(command, plan, place))
        status = in_foreground(argv, docker.env(), Path.cwd())
        if status == DOCKERS_OWN:
            asked = docker.try_run("inspect", "--format", "{{.State.Error}}", container_name(plan, command))
            if why := asked.stdout.strip():
                raise docker.complaint(why)
        return status

    def follow(self, plan: Plan, command: Command) -> ContainerJob:
        """A command's container, from its first word on."""
        name = container_name(plan, command)
        return ContainerJob(self.docker_of(command), name, log_of(plan, command.name), str(plan.run))

    def remove(self, plan: Plan, commands: Sequence[Command]) -> None:
        """Remove commands' containers."""

        def one(command: Command) -> None:
            self.docker_of(command).try_run("rm", "--force", "--volumes", container_name(plan, command))

        with ThreadPoolExecutor(max(len(commands), 1)) as pool:
            list(pool.map(one, commands))

    def answers(self, plan: Plan, command: Command, timeout: float) -> bool:
        """Whether a server completes a chat, now or in a moment; asked from inside, wherever the engine is."""
        assert command.ready and command.url  # noqa: S101 (only servers are asked)
        ask = ["python", str(READY), command.url, command.ready.chat, str(WAITS)]
        words = ["exec", container_name(plan, command), *ask]
        return self.docker_of(command).try_run(*words, timeout=timeout + 5).returncode == 0

    def _have_network(self, docker: Docker, plan: Plan) -> None:
        network = network_name(plan)
        with self._one_at_a_time:  # an engine may give two networks one name
            if docker.try_run("network", "inspect", network).returncode:
                docker.run("network", "create", "--label", f"{RUN}={plan.run}", network)
