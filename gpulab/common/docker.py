"""The docker command, as the lab runs it: this machine's engine, or a host's over ssh; what it says, with the cure."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpulab.common.diagnosis import diagnose, last_line
from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure

RUN = "gpulab.run"  # the label that says which run's folder a container belongs to


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
        known = diagnose(said, "docker", at=self.at)
        last = last_line(said, "failed without a message")
        return UsageError.of(known or Failure(f"docker at {self.at}: {last}", "docker info"))


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
