"""A run on hosts as a shell script: containers and files go through Docker's own connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gpulab.common.docker import Docker
from gpulab.engines import shell
from gpulab.engines.docker_shell import DockerShell
from gpulab.plan.container import Place, helper_words
from gpulab.plan.plan import Command, Plan
from gpulab.plan.script import assigned, quote


class RemoteShell(DockerShell):
    """See Shell."""

    def __init__(
        self, plan: Plan, image: str, place: Callable[[Plan, Command], Place], dockers: Mapping[str, Docker], run: Path
    ) -> None:
        super().__init__(plan, image, place)
        self._dockers = dockers
        self._user = place(plan, plan.commands[0]).user
        self.folders = {"FILES": str(run), **self.folders}

    def head(self) -> str:
        """See Shell."""
        first = next(iter(self._dockers))
        ways = " ".join(f"[{quote(name)}]={quote(docker.way or '')}" for name, docker in self._dockers.items())
        shared = Path(self.folders["FILES"]).parents[1]
        folders = " ".join(f'"$FILES"/{quote(name)}' for name in dict.fromkeys(c.out.name for c in self.plan.commands))
        words = helper_words(self._image, self._user, "sh", ["--volume", f"{shared}:{shared}"])
        return "".join((
            f"declare -A WAY=({ways})  # an ssh for each host, with the inventory's settings\n",
            assigned(FIRST=first, SHARED=shared),
            f'helper() {{ docker run --interactive {self.quoted(words)} "$@"; }}\n',
            shell.text("remote.sh"),
            super().head(),
            *(f'send {self.quoted([str(at)])} "$FILES"/{name}\n' for name, at in self.plan.lab.reads.items()),
            f"ground {folders}\n",
        ))  # fmt: skip

    def on(self, command: Command) -> str:
        """See DockerShell."""
        return f"on {quote(command.node)} " if command.node else ""
