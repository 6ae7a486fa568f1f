"""A run on hosts as a shell script: containers and files go through Docker's own connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gpulab.common.docker import Docker
from gpulab.engines.docker_shell import DockerShell
from gpulab.plan.container import Place
from gpulab.plan.plan import Command, Plan
from gpulab.plan.script import quote


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
        volume = quote(f"{shared}:{shared}")
        aside = f"docker run -i --rm --network none --user {self._user} -v {volume} --entrypoint sh"
        return f"""\
declare -A WAY=({ways})  # an ssh for each host, with the inventory's settings
on() {{ local host=$1; shift; PATH="${{WAY[$host]}}:$PATH" DOCKER_HOST="ssh://$host" "$@"; }}
FIRST={quote(first)}
export DOCKER_HOST="ssh://$FIRST" PATH="${{WAY[$FIRST]}}:$PATH"
FILES={quote(shared)}/"${{RUN##*/}}"-$$  # the run's folder on the hosts; what it holds stays there
send() {{ tar -C "$1" -c . | {aside} "$IMAGE" -c 'mkdir -p "$0" && tar -xf - -C "$0"' "$2"; }}
{super().head()}send {self.quoted([str(self.plan.lab.folder)])} "$FILES/.lab"
for part in inside checks; do send "$LAB/gpulab/$part" "$FILES/.gpulab/$part"; done
{aside} "$IMAGE" -c 'mkdir -p "$@"' _ {folders}
"""

    def on(self, command: Command) -> str:
        """See DockerShell."""
        return f"on {quote(command.node)} " if command.node else ""
