"""The docker command, as the lab runs it: this machine's engine, or a host's over ssh; what it says, with the cure."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpulab.common.errors import UsageError

RUN = "gpulab.run"  # the label that says which run's folder a container belongs to

# What docker says -> what is wrong, and what helps. {at} is the engine, {it} what the pattern's first group caught.
COMPLAINTS = (
    (r"permission denied while trying to connect|connect: permission denied", "no permission on the engine of {at}",
     "sudo usermod -aG docker $USER, then log in anew (./inv provision does it for the lab's users)"),
    (r"Cannot connect to the Docker daemon|error during connect|Is the docker daemon running|dial unix",
     "no Docker engine answers at {at}", "start it (sudo systemctl start docker), or name another with DOCKER_HOST"),
    (r"(?:No such image|pull access denied for|Unable to find image '|manifest for) ?:?([^\s,']+)",
     "{at} has no image {it}", "./inv build STACK here, or ./inv pull STACK, or ./inv load FILE"),
    (r"(no answer from .+)", "{it}", "is it overloaded, or gone? try again"),
    (r"no space left on device", "the disk of {at} is full", "free some space there: docker system prune"),
    (r"does not match the (?:specified|host) platform|exec format error", "the image is for another platform than {at}",
     "build it there, or on a machine of the same kind"),
    (r"could not select device driver.*gpu|unresolvable CDI devices|unknown or invalid runtime name: nvidia",
     "the engine of {at} knows no GPUs", "./inv provision installs nvidia-container-toolkit; ./inv doctor says more"),
    (r"(?:port is already allocated|address already in use).*", "a port is taken at {at}",
     "see who listens: ss -ltnp"),
)  # fmt: skip


@dataclass(frozen=True)
class Docker:
    """One engine. `host` is empty for this machine's (whatever DOCKER_HOST or the context says), else ssh://NAME; `way`
    is a folder with the `ssh` that knows how to get there; `environment` goes above this process's."""

    host: str = ""
    way: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def at(self) -> str:
        """Where the engine is, as one says it."""
        return self.host.removeprefix("ssh://") or os.environ.get("DOCKER_HOST") or "this machine"

    def argv(self, *words: str) -> list[str]:
        """`docker WORDS` as an argument list. Raises UsageError where there is no docker command."""
        program = shutil.which("docker")
        if not program:
            raise UsageError("no docker command on this machine", "apt-get install docker.io, or Docker's own packages")
        return [program, *words]

    def env(self) -> dict[str, str]:
        """The environment that makes `argv` reach this engine."""
        env = {**os.environ, **self.environment, **({"DOCKER_HOST": self.host} if self.host else {})}
        return {**env, "PATH": f"{self.way}{os.pathsep}{env.get('PATH', os.defpath)}"} if self.way else env

    def try_run(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run it and return what came, whatever the exit status; a deadline missed is exit 124."""
        argv = self.argv(*words)
        try:
            return subprocess.run(argv, env=self.env(), capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 124, "", f"no answer from {self.at} within {timeout:.0f} s")

    def run(self, *words: str, timeout: float = 60) -> str:
        """Run it and return its standard output. Raises UsageError with the cure when it fails."""
        done = self.try_run(*words, timeout=timeout)
        if done.returncode:
            raise self.complaint(done.stderr)
        return done.stdout.strip()

    def complaint(self, said: str) -> UsageError:
        """What docker complained about, in words that name the cure."""
        for pattern, problem, cure in COMPLAINTS:
            if match := re.search(pattern, said):
                it = match[1] if match.groups() else ""
                return UsageError(problem.format(at=self.at, it=it), cure)
        lines = [line for line in said.strip().splitlines() if line.strip()]
        return UsageError(f"docker at {self.at}: {lines[-1] if lines else 'failed without a word'}", "docker info")


def remove_run(docker: Docker, run: Path) -> int:
    """Remove the containers and networks that carry a run's label; how many containers there were."""
    label = f"label={RUN}={run}"
    found = docker.try_run("ps", "--all", "--quiet", "--filter", label).stdout.split()
    if found:
        docker.try_run("rm", "--force", "--volumes", *found)
    networks = docker.try_run("network", "ls", "--quiet", "--filter", label).stdout.split()
    if networks:
        docker.try_run("network", "rm", *networks)
    return len(found)
