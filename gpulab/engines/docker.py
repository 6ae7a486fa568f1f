"""The `docker` engine: each command as a container of the stack's image, on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.common.docker import Docker, remove_run
from gpulab.engines.backend import StepBackend
from gpulab.engines.container_job import ContainerJob
from gpulab.engines.containers import Containers
from gpulab.engines.docker_shell import DockerShell
from gpulab.engines.stack_image import StackImage
from gpulab.plan.container import Place, earlier_runs, here, node_alias
from gpulab.plan.plan import Command, Network, Node, Plan
from gpulab.stacks.stack import Stack

NETWORK = Network(bind="0.0.0.0", server="{step}")  # noqa: S104 (inside; published to this machine's loopback)


class DockerBackend(StepBackend):
    """See Backend; the stack is an image, the steps share a network of the run's own."""

    name = "docker"
    network = NETWORK

    def __init__(self, stack: Stack, docker: Docker) -> None:
        super().__init__(stack)
        self._docker = docker
        self._image = StackImage(stack, docker)
        self.containers = Containers(lambda _: docker, self._place)

    def prepare(self) -> None:
        """See Backend."""
        self._image.prepare()

    def lacks(self, plan: Plan) -> Command | None:
        """See Backend."""
        program = self._image.lacks(plan.programs)
        return plan.starting(program) if program else None

    def described(self) -> dict[str, Any]:
        """See Backend."""
        return self._image.described()

    def shell(self, plan: Plan) -> DockerShell:
        """See Backend."""
        return DockerShell(plan, self._image.tag, self._place)

    def nodes(self, count: int) -> list[Node]:
        """See Backend; all on this machine, which is enough to rehearse."""
        return [Node(f"{self._docker.at}, {rank}", node_alias(rank), "eth0") for rank in range(count)]

    def start(self, plan: Plan, command: Command) -> ContainerJob:
        """See Backend."""
        return self.containers.start(plan, command)

    def answers(self, plan: Plan, command: Command, timeout: float) -> bool:
        """See Backend."""
        return self.containers.answers(plan, command, timeout)

    def remove(self, plan: Plan, commands: Sequence[Command]) -> None:
        """See Backend."""
        self.containers.remove(plan, commands)

    def foreground(self, plan: Plan, command: Command) -> int:
        """See Backend."""
        return self.containers.foreground(plan, command)

    def sweep(self, run: Path) -> None:
        """See Backend; by the label of containers and networks."""
        remove_run(self._docker, run)

    def _place(self, plan: Plan, command: Command) -> Place:
        place = here(plan, self._image.tag, self._image.gpu_words(plan))
        own = {} if command.cwd == plan.lab.folder else {command.cwd: command.cwd}  # whoever types it works there
        read = {**place.read, **earlier_runs(plan, plan.run.parent)}
        return dataclasses.replace(place, read=read, write={**place.write, **own})
