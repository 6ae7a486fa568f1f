"""A stack's image in an engine: whether it is there and fits, what it holds, how it is given GPUs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.engines import shell
from gpulab.hosts.compute_node import EngineFacts
from gpulab.images.image import Image
from gpulab.images.inspect import identity
from gpulab.plan.container import helper_words
from gpulab.plan.plan import Plan
from gpulab.stacks.resolver import versions
from gpulab.stacks.stack import Stack

NOBODY = "65534:65534"


class StackImage:
    """A stack's image in the engine of one machine. What that engine says of itself is asked by `prepare`, unless hosts
    have `told` it already."""

    def __init__(self, stack: Stack, docker: Docker, told: Mapping[Docker, EngineFacts] | None = None) -> None:
        self.stack, self.docker, self._told = stack, docker, told or {}
        self.tag = Image(stack).tag
        self.engine: dict[str, Any] = {}
        self.about: dict[str, Any] = {}

    def prepare(self) -> None:
        """An engine answers, has the image, and it is for its platform. Raises UsageError where that is not so."""
        told = self._told.get(self.docker, EngineFacts())
        self.engine = told.info or json.loads(self.docker.run("info", "--format", "{{json .}}"))
        if problems := self.engine.get("ServerErrors"):
            raise self.docker.complaint("\n".join(problems))
        self.about = self.inspect(self.docker)
        platform = self.about["Architecture"].replace("amd64", "x86_64").replace("arm64", "aarch64")
        if platform != self.engine["Architecture"]:
            raise UsageError(
                f"{self.tag} is for {platform}, {self.docker.at} is {self.engine['Architecture']}",
                "build it on a machine of the same kind",
            )

    def inspect(self, docker: Docker) -> dict[str, Any]:
        """What an engine knows of the image. Raises UsageError where it has none."""
        if known := self._told.get(docker, EngineFacts()).images.get(self.tag):
            return known
        found = docker.try_run("image", "inspect", "--format", "{{json .}}", self.tag)
        if "No such image" in found.stderr:
            raise UsageError(
                f"{docker.at} has no image {self.tag}",
                f"./inv build {self.stack.name}, or get it: ./inv pull {self.stack.name}, ./inv load FILE",
            )
        if found.returncode:
            raise docker.complaint(found.stderr)
        about: dict[str, Any] = json.loads(found.stdout)
        return about

    def must_be_the_same_on(self, others: Sequence[Docker]) -> None:
        """Raise UsageError where another engine has no such image, or another one under its name."""
        with ThreadPoolExecutor(len(others)) as pool:
            found = list(pool.map(self.inspect, others))
        for docker, about in zip(others, found, strict=True):
            if identity(about) != identity(self.about):
                raise UsageError(
                    f"{docker.at} and {self.docker.at} have different images under {self.tag}",
                    "./inv images --hosts gpus.ini shows them; ./inv pull or ./inv load makes them the same",
                )

    def lacks(self, programs: Sequence[str]) -> str | None:
        """The first of `programs` that the image does not have."""
        words = helper_words(self.tag, NOBODY, "sh", [])
        return self.docker.run("run", *words, "-c", shell.text("lacks.sh"), "_", *programs) or None

    def described(self) -> dict[str, Any]:
        """What the record says about the image and its engine."""
        about = {
            "tag": self.tag, "id": self.about["Id"], "identity": identity(self.about),
            "digests": self.about.get("RepoDigests") or [],
        }  # fmt: skip
        locked = versions(self.stack.lock.read_text(encoding="utf-8"))
        pinned = dict(pin.split("==") for pin in self.stack.all_pins if "[" not in pin)
        engine = {"at": self.docker.at, "version": self.engine["ServerVersion"]}
        return {"image": about, "docker": engine, "packages": dict(sorted((pinned | locked).items()))}

    def gpu_words(self, plan: Plan) -> list[str]:
        """How the engine is asked for the GPUs. CDI where it knows it: those are not lost when systemd reloads."""
        if plan.profile != "gpu" or not plan.lab.needs.gpus:
            return []
        return ["--device", "nvidia.com/gpu=all"] if self.engine.get("CDISpecDirs") else ["--gpus", "all"]
