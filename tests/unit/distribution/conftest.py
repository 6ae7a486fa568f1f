"""A real engine, images of a few kilobytes under the tags of stacks, and a real registry."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpulab.images.image import Image
from gpulab.stacks.stack import load_stack
from tests.testbed import engine as testbed
from tests.testbed.paths import SOCKET
from tests.unit.hosts.conftest import sshd  # noqa: F401 (a fixture of these tests, too)
from tests.wait import wait_until

# Stacks that no test builds for real: their tags are free for stand-ins.
ONE, TWO = "sglang", "lmdeploy"
MakeImage = Callable[..., str]


@pytest.fixture(scope="session")
def dockerd() -> str:
    """The testbed's engine: its address."""
    missing = [tool for tool in ("dockerd", "docker", "iptables") if not shutil.which(tool)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"an engine needs root and {', '.join(missing) or 'its tools'}: see tests/testbed/packages.txt")
    testbed.start()
    return f"unix://{SOCKET}"


@pytest.fixture
def engine(dockerd: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The engine as this machine's, without images of ONE and TWO before and after."""
    monkeypatch.setenv("DOCKER_HOST", dockerd)
    forget()
    yield dockerd
    forget()


@pytest.fixture
def make_image(engine: str) -> MakeImage:
    """make_image(stack, size=, tag=): an image of random contents under the stack's tag; the tag."""

    def make(stack: str = ONE, size: int = 1000, tag: str = "") -> str:
        tag = tag or tag_of(stack)
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            member = tarfile.TarInfo("payload")
            member.size = size
            archive.addfile(member, io.BytesIO(os.urandom(size)))
        subprocess.run(["docker", "import", "-", tag], input=tar.getvalue(), check=True, capture_output=True)
        return tag

    return make


def tag_of(stack: str) -> str:
    """The tag of a stack's image."""
    return Image(load_stack(stack)).tag


def docker(*words: str) -> str:
    """The docker command's output."""
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout


def forget(*stacks: str) -> None:
    """Remove every image of these stacks (of both, unless named), under whatever name."""
    for stack in stacks or (ONE, TWO):
        names = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        if mine := [name for name in names if f"gpulab/{stack}:" in name and "<none>" not in name]:
            docker("image", "rm", "--force", *mine)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def connectable(port: int) -> bool:
    """Whether somebody listens on a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[int]:
    """A registry on the loopback; its port."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("no docker-registry on this machine (apt-get install docker-registry)")
    port = free_port()
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with (tmp_path / "registry.log").open("wb") as log:
        server = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    wait_until(lambda: connectable(port), "the registry", timeout=20)
    yield port
    server.terminate()
    server.wait(timeout=10)
