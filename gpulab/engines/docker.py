"""The `docker` engine: each command as a container of the stack's image."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpulab.common.docker import RUN, Docker, remove_run
from gpulab.common.errors import UsageError
from gpulab.common.processes import MARK
from gpulab.common.resources import Usage
from gpulab.engines.docker_shell import DockerShell
from gpulab.engines.engine import CannotStart, Engine
from gpulab.images.image import Image
from gpulab.images.inspect import identity
from gpulab.plan.container import (
    Place,
    container_name,
    here,
    network_name,
    node_alias,
    run_words,
)
from gpulab.plan.plan import Command, Network, Node, Plan
from gpulab.plan.script import READY
from gpulab.stacks.resolver import versions
from gpulab.stacks.stack import Stack

GRACE = 10  # seconds between the request to end and the kill
LOST = 60  # seconds without a word from the engine after which a container is given up
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class ContainerJob:
    """A container, its log followed into a file. It runs on by itself: a lost connection is taken up again.

    It stays when it has ended, for whoever asks later how it ended (see `DockerEngine.let_go`).
    """

    def __init__(self, docker: Docker, name: str, log: Path, mark: str) -> None:
        self._docker, self._name, self._log, self._mark = docker, name, log, mark
        self._status: int | None = None
        self._follow()
        self._silent_since: float | None = None
        self._gone = False
        self._stats = self._popen("stats", "--format", "{{json .}}", name, stdout=subprocess.PIPE)
        self._usage = Usage()
        threading.Thread(target=self._read_stats, daemon=True).start()

    def poll(self) -> int | None:
        """See Job; 255 when the engine does not answer any more."""
        if self._status is None and self._logs.poll() is not None:
            self._status = self._ended()
        return self._status

    def wait(self, seconds: float) -> None:
        """See Job."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._logs.wait(seconds)

    def stop(self) -> None:
        """See Job."""
        if self._status is None:
            self._docker.try_run("stop", "--time", str(GRACE), self._name, timeout=GRACE + 20)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._logs.wait(GRACE)
        for process in (self._logs, self._stats):
            process.kill()  # stats does not heed SIGTERM
            process.wait()

    def usage(self) -> Usage:
        """See Job."""
        return self._usage

    def lost(self) -> str | None:
        """See Job."""
        if self._gone:
            return "was removed by someone else (./inv cancel?)"
        if self._silent_since is None:
            return None
        return f"has not answered for {time.monotonic() - self._silent_since:.0f} s"

    def _ended(self) -> int | None:
        """The exit status; None while it runs on, though the log broke off."""
        said = self._docker.try_run("inspect", "--format", "{{json .State}}", self._name, timeout=15)
        if said.returncode:
            self._silent_since = self._silent_since or time.monotonic()
            self._gone = "No such" in said.stderr
            given_up = self._gone or time.monotonic() - self._silent_since > LOST
            if given_up:
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(f"\n{self._docker.complaint(said.stderr).message}\n")
            return 255 if given_up else None
        self._silent_since = None
        state: dict[str, Any] = json.loads(said.stdout)
        if state["Running"]:
            self._follow()
            return None
        if state["OOMKilled"]:
            with self._log.open("a", encoding="utf-8") as log:
                log.write("\nKilled: the container was out of memory\n")
        return int(state["ExitCode"])

    def _follow(self) -> None:
        """From the container's first word on: whatever was missed is there again."""
        with self._log.open("wb") as log:
            self._logs = self._popen("logs", "--follow", self._name, stdout=log)

    def _popen(self, *words: str, stdout: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._docker.argv(*words), env={**self._docker.env(), MARK: self._mark}, stdin=subprocess.DEVNULL,
            stdout=stdout, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def _read_stats(self) -> None:
        assert self._stats.stdout  # noqa: S101 (a pipe, see above)
        for line in self._stats.stdout:
            # a line for a terminal: control codes before the object
            if match := re.search(rb"\{.*\}", line):
                self._usage = usage(json.loads(match[0]))


def usage(stats: dict[str, str]) -> Usage:
    """What `docker stats` says (`{"CPUPerc": "101.5%", "MemUsage": "1.5GiB / 8GiB"}`) as Usage."""
    used = re.match(r"([\d.]+)\s*([A-Za-z]+)", stats.get("MemUsage", ""))
    mib = float(used[1]) * UNITS.get(used[2], 0) / 2**20 if used else 0.0
    with contextlib.suppress(ValueError):
        return Usage(float(stats.get("CPUPerc", "").rstrip("%")), mib)
    return Usage(0.0, mib)


class DockerEngine(Engine):
    """See Engine; the stack is an image, the steps share a network of the run's own."""

    name = "docker"
    network = Network(bind="0.0.0.0", server="{step}")  # noqa: S104 (inside; published to this machine's loopback)

    def __init__(self, stack: Stack, docker: Docker) -> None:
        super().__init__(stack)
        self.docker = docker
        self.image = Image(stack)
        self._info: dict[str, Any] = {}
        self._one_at_a_time = threading.Lock()

    def prepare(self) -> None:
        """See Engine: an engine answers, has the image, and it is for its platform."""
        self._info = json.loads(self.docker.run("info", "--format", "{{json .}}"))
        if problems := self._info.get("ServerErrors"):
            raise self.docker.complaint("\n".join(problems))
        self._image = self.inspect(self.docker)
        platform = self._image["Architecture"].replace("amd64", "x86_64").replace("arm64", "aarch64")
        if platform != self._info["Architecture"]:
            raise UsageError(
                f"{self.image.tag} is for {platform}, {self.docker.at} is {self._info['Architecture']}",
                "build it on a machine of the same kind",
            )

    def inspect(self, docker: Docker) -> dict[str, Any]:
        """What an engine knows of the stack's image. Raises UsageError where it has none."""
        found = docker.try_run("image", "inspect", "--format", "{{json .}}", self.image.tag)
        if "No such image" in found.stderr:
            raise UsageError(
                f"{docker.at} has no image {self.image.tag}",
                f"./inv build {self.stack.name}, or get it: ./inv pull {self.stack.name}, ./inv load FILE",
            )
        if found.returncode:
            raise docker.complaint(found.stderr)
        about: dict[str, Any] = json.loads(found.stdout)
        return about

    def lacks(self, programs: Sequence[str]) -> str | None:
        """See Engine."""
        loop = 'for p; do command -v "$p" >/dev/null || { echo "$p"; exit; }; done'
        words = ["run", "--rm", "--network", "none", "--entrypoint", "sh", self.image.tag, "-c", loop, "_", *programs]
        return self.docker.run(*words) or None

    def described(self) -> dict[str, Any]:
        """See Engine."""
        about = {
            "tag": self.image.tag, "id": self._image["Id"], "identity": identity(self._image),
            "digests": self._image.get("RepoDigests") or [],
        }  # fmt: skip
        locked = versions(self.stack.lock.read_text(encoding="utf-8"))
        pinned = dict(pin.split("==") for pin in self.stack.all_pins if "[" not in pin)
        engine = {"at": self.docker.at, "version": self._info["ServerVersion"]}
        return {"image": about, "docker": engine, "packages": dict(sorted((pinned | locked).items()))}

    def place(self, plan: Plan, command: Command) -> Place:
        """Where a command's container runs."""
        place = here(plan, self.image.tag, self.gpu_words(plan))
        return dataclasses.replace(place, read={**place.read, **self.earlier_runs(plan, plan.run.parent)})

    def earlier_runs(self, plan: Plan, at: Path) -> dict[Path, Path]:
        """Of a run that resumes another, the lab's runs to read: what was taken over may name paths in them."""
        return {plan.run.parent: at} if self._resume_request or self.taken.next else {}

    def shell(self, plan: Plan) -> DockerShell:
        """See Engine."""
        return DockerShell(plan, self.image.tag, self.place)

    def gpu_words(self, plan: Plan) -> list[str]:
        """How this engine is asked for the GPUs. CDI where it knows it: those are not lost when systemd reloads."""
        if plan.profile != "gpu" or not plan.lab.needs.gpus:
            return []
        return ["--device", "nvidia.com/gpu=all"] if self._info.get("CDISpecDirs") else ["--gpus", "all"]

    def nodes(self, count: int) -> list[Node]:
        """See Engine; all on this machine, which is enough to rehearse."""
        return [Node(f"{self.docker.at}, {rank}", node_alias(rank), "eth0") for rank in range(count)]

    def docker_of(self, command: Command) -> Docker:
        """The engine that a command's container runs on."""
        return self.docker

    def start(self, command: Command) -> ContainerJob:
        """See Engine."""
        docker = self.docker_of(command)
        try:
            place = self.place(self.plan, command)
            if place.fabric is None:
                self._have_network(docker)
            docker.run("run", "--detach", *run_words(command, self.plan, place), timeout=300)
        except UsageError as error:
            raise CannotStart(f"{command.name} can't be started: {error.message} ({error.cure})") from None
        return self.follow(command)

    def _have_network(self, docker: Docker) -> None:
        network = network_name(self.plan)
        with self._one_at_a_time:  # an engine may give two networks one name
            if docker.try_run("network", "inspect", network).returncode:
                docker.run("network", "create", "--label", f"{RUN}={self.plan.run}", network)

    def follow(self, command: Command) -> ContainerJob:
        """A command's container, from its first word on."""
        name = container_name(self.plan, command)
        return ContainerJob(self.docker_of(command), name, self.log(command.name), str(self.plan.run))

    def let_go(self, step: str, keep: str | None = None) -> list[str]:
        """See Engine; only now the containers go: an inv that was killed before can be followed by one that asks."""
        over = super().let_go(step, keep)
        commands = [command for name in over for command in self.plan.ranks(name)]
        with ThreadPoolExecutor(max(len(commands), 1)) as pool:
            list(pool.map(self.remove, commands))
        return over

    def remove(self, command: Command) -> None:
        """Remove a command's container."""
        self.docker_of(command).try_run("rm", "--force", "--volumes", container_name(self.plan, command))

    def answers(self, command: Command, timeout: float) -> bool:
        """See Engine; asked from inside, wherever the engine is."""
        assert command.ready and command.url  # noqa: S101 (only servers are asked)
        ask = ["python", str(READY), command.url, command.ready.chat, "0"]
        words = ["exec", container_name(self.plan, command), *ask]
        return self.docker.try_run(*words, timeout=timeout + 5).returncode == 0

    def sweep(self) -> None:
        """See Engine; by the label of containers and networks."""
        remove_run(self.docker, self.plan.run)
