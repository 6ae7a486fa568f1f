"""An image at work: a container of it without a network, in which the tests look and try."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gpulab.common.docker import Docker
from gpulab.images.image import Image

INSIDE = Path(__file__).with_name("inside")


@dataclass
class Box:
    """A running container of `image`."""

    image: Image
    docker: Docker
    name: str

    def run(
        self, *argv: str, user: str = "", timeout: float = 300, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command in it, as the image's own user or as `user` (uid or uid:gid)."""
        who = ["--user", user] if user else []
        return subprocess.run(
            self.docker.argv("exec", "-i", *who, self.name, *argv),
            env=self.docker.env(), capture_output=True, text=True, timeout=timeout, input=stdin, check=False,
        )  # fmt: skip

    def ask(self, script: str, *argv: str, timeout: float = 600) -> Any:
        """What inside/SCRIPT prints there, which is JSON."""
        done = self.run("python", "-", *argv, timeout=timeout, stdin=(INSIDE / script).read_text())
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def python(self, code: str, user: str = "") -> str:
        """What a piece of Python prints there; it must end well."""
        done = self.run("python", "-c", code, user=user)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The image's configuration, as docker inspects it."""
        found: Mapping[str, Any] = json.loads(self.docker.run("image", "inspect", self.image.tag))[0]["Config"]
        return found


@contextmanager
def box(image: Image, docker: Docker) -> Iterator[Box]:
    """A container of `image`, gone afterwards. Ranks find each other by its name, though it has no network."""
    alone = ("--network", "none", "--hostname", "localhost", "--shm-size", "1g")
    name = docker.run("run", "-d", *alone, "--entrypoint", "sleep", image.tag, "infinity")
    try:
        yield Box(image, docker, name)
    finally:
        docker.try_run("rm", "-f", name)  # at a session's end its engine may be gone, and the container with it
