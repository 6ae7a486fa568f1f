"""A run in containers as a shell script: the very `docker run` words that the engine carries out."""

from __future__ import annotations

from gpulab.engines.container import Place, container_name, network_name, run_words
from gpulab.plan import Command, Plan
from gpulab.script import READY, Shell


class DockerShell(Shell):
    """See Shell."""

    name = "docker"

    def __init__(self, plan: Plan, place: Place) -> None:
        super().__init__(plan, {"IMAGE": place.image, "NETWORK": network_name(plan)})
        self._place = place

    def head(self) -> str:
        """See Shell."""
        return f"""\
IMAGE={self._place.image}
NETWORK={network_name(self.plan)}-again-$$
docker image inspect "$IMAGE" >/dev/null || {{ echo "./inv build {self.plan.stack.name} makes it" >&2; exit 2; }}
stop() {{ docker rm --force "$@" >/dev/null; }}
clean() {{ docker ps -aq --filter network="$NETWORK" | xargs -r docker rm --force; docker network rm "$NETWORK"; }}
trap 'clean >/dev/null' EXIT
docker network create "$NETWORK" >/dev/null
"""

    def step(self, command: Command) -> list[str]:
        """See Shell."""
        words = self.quoted(run_words(command, self.plan, self._place))
        if not command.ready:
            return [f"docker run --rm {words}"]
        name, within = container_name(self.plan, command.step), f"{command.ready.within:g}"
        ready = ["docker", "exec", name, "python", str(READY), str(command.url), command.ready.chat, within]
        return [f"docker run --detach {words} >/dev/null", self.quoted(ready)]

    def stop(self, step: str) -> str:
        """See Shell."""
        return f'stop "$NETWORK"-{step}'
