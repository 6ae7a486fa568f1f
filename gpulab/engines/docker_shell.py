"""A run in containers as a shell script: the very `docker run` words that the engine carries out."""

from __future__ import annotations

from collections.abc import Callable

from gpulab.engines import shell
from gpulab.plan.container import Place, container_name, network_name, run_words
from gpulab.plan.plan import Command, Plan
from gpulab.plan.script import READY, Shell, assigned, quote


class DockerShell(Shell):
    """See Shell."""

    name = "docker"

    def __init__(self, plan: Plan, image: str, place: Callable[[Plan, Command], Place]) -> None:
        super().__init__(plan, {"IMAGE": image, "NETWORK": network_name(plan)})
        self._image, self._place = image, place

    def head(self) -> str:
        """See Shell."""
        make = f"./inv build {self.plan.stack.name} makes it"
        return assigned(IMAGE=self._image, NETWORK=network_name(self.plan), MAKE=make) + shell.text("docker.sh")

    def step(self, command: Command) -> list[str]:
        """See Shell; a spread step's nodes run side by side, and the first that fails ends the script."""
        if command.rank is not None:
            last = command.rank == len(self.plan.ranks(command.step)) - 1
            node = f"{self.on(command)}docker run --rm {self._words(command)} &"
            return [node, "nodes+=($!)", *(['wait_for "${nodes[@]}"; nodes=()'] if last else [])]
        if not command.ready:
            return [f"docker run --rm {self._words(command)}"]
        name, within = container_name(self.plan, command), f"{command.ready.within:g}"
        ready = ["docker", "exec", name, "python", str(READY), str(command.url), command.ready.chat, within]
        return [f"docker run --detach {self._words(command)} >/dev/null", self.quoted(ready)]

    def stop(self, step: str) -> str:
        """See Shell."""
        return f'stop "$NETWORK"-{quote(step)}'

    def on(self, command: Command) -> str:
        """What stands before a command to carry it out on its node."""
        return ""

    def _words(self, command: Command) -> str:
        return self.quoted(run_words(command, self.plan, self._place(self.plan, command)))
