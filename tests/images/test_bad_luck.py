"""What goes wrong while an image is built, against a real engine: one clear line, and nothing half made."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpulab.common.docker import Docker
from gpulab.common.paths import CACHE, ROOT
from gpulab.images.image import Image
from gpulab.stacks.stack import load_stack
from tests.wait import wait_until

SMALL = "eval"  # no test builds its image to the end


def start(docker: Docker, *words: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ROOT / "inv", "build", SMALL, *words], env={**docker.env(), **env}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def python() -> str:
    """A base image with the stack's Python."""
    if not shutil.which("pyenv"):
        pytest.skip("the stack's Python is copied from pyenv, and there is none")
    from tests.testbed.pythons import python_base

    return python_base("3.12")


@pytest.fixture(autouse=True)
def nothing_half_made(docker: Docker) -> Iterator[None]:
    yield
    tag = Image(load_stack(SMALL)).tag
    assert docker.try_run("image", "inspect", tag).returncode != 0
    assert not list(CACHE.glob(f"build-{SMALL}-*")), "the staged folder is left"


def test_an_index_that_does_not_answer(docker: Docker, python: str) -> None:
    done = start(docker, "--base", python, UV_DEFAULT_INDEX="http://127.0.0.1:9/simple")
    _, said = done.communicate(timeout=300)
    assert done.returncode == 2
    assert "was not built: the package index cannot be reached" in said
    assert "cure: check network, mirror (UV_DEFAULT_INDEX)" in said


def test_a_base_without_the_stacks_python(docker: Docker) -> None:
    from tests.testbed.pythons import DEBIANS_OWN, python_base

    done = start(docker, "--base", python_base(DEBIANS_OWN))
    _, said = done.communicate(timeout=300)
    assert done.returncode == 2
    assert "was not built: the base image lacks the stack's Python" in said


@pytest.mark.parametrize("registry", ["registry.invalid", "127.0.0.1:9"])
def test_a_base_whose_registry_does_not_answer(docker: Docker, registry: str) -> None:
    done = start(docker, "--base", f"{registry}/python:slim")
    _, said = done.communicate(timeout=300)
    assert done.returncode == 2
    assert "was not built: the base image could not be pulled from its registry" in said
    assert "cure: check its name and the network, or name one at hand: --base IMAGE" in said


def test_a_base_of_another_platform(docker: Docker, tmp_path: Path) -> None:
    """Its shell is the head of a program for arm64: this machine's kernel refuses it as it would refuse a whole one."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(200)
    member = tarfile.TarInfo("bin/sh")
    member.size, member.mode = len(head), 0o755
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.addfile(member, io.BytesIO(head))
    docker.run("import", str(tmp_path / "root.tar"), "testbed/arm64")
    done = start(docker, "--base", "testbed/arm64")
    _, said = done.communicate(timeout=300)
    docker.run("rmi", "testbed/arm64")
    assert done.returncode == 2
    assert "was not built: the base image is for another platform" in said


def test_a_user_who_may_not_use_the_engine(docker: Docker) -> None:
    """One who may read everything, for this checkout can lie where others may not look, and write nothing."""
    nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    done = subprocess.run(
        ["setpriv", *nobody, *may_read, ROOT / "inv", "build", SMALL],
        env={**docker.env(), "HOME": "/nonexistent"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert "error: no permission on the engine of unix://" in done.stderr
    assert "cure: sudo usermod -aG docker $USER" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_stops_at_once(docker: Docker, python: str, number: int) -> None:
    log = CACHE / "build" / f"{SMALL}.log"
    log.unlink(missing_ok=True)
    building = start(docker, "--base", python)
    wait_until(lambda: log.exists() and "rest.txt" in log.read_text(), "its longest step")
    os.killpg(building.pid, number)
    building.communicate(timeout=300)
    assert building.returncode == (130 if number == signal.SIGINT else 2)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_built(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpulab.common.errors import UsageError
    from gpulab.images import build as run

    usage = run.shutil.disk_usage("/")
    monkeypatch.setattr(run.shutil, "disk_usage", lambda _: usage._replace(free=2**30))
    with pytest.raises(UsageError, match=r"the image of eval needs \d+ GiB while it is built, .* has 1\.0"):
        run.check_disk(load_stack(SMALL), docker)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own: 8 GiB in a file that takes only what is written."""
    image, folder = tmp_path / "disk", tmp_path / "mounted"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(8 * 2**30)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no loop device can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
    image.unlink()


@pytest.fixture
def on_it(disk: Path, docker: Docker, python: str) -> Iterator[Docker]:
    """An engine whose data lies on that disk, with the base image."""
    with tempfile.TemporaryDirectory(prefix="gpulab-") as place:  # a socket's path must be short
        words = ["--data-root", disk / "engine", "--exec-root", f"{place}/exec", "--pidfile", f"{place}/pid"]
        words += ["--host", f"unix://{place}/sock", "--bridge", "none", "--storage-driver", "overlay2"]
        with (disk.parent / "log").open("wb") as log:
            daemon = subprocess.Popen(["dockerd", *words], stdout=log, stderr=log)
        small = Docker(environment={**docker.environment, "DOCKER_HOST": f"unix://{place}/sock"})
        wait_until(lambda: small.try_run("version").returncode == 0, f"the engine, its log: {disk.parent / 'log'}")
        docker.run("save", python, "--output", f"{disk.parent}/base.tar", timeout=300)
        small.run("load", "--input", f"{disk.parent}/base.tar", timeout=300)
        yield small
        daemon.terminate()
        daemon.wait(timeout=60)


def test_the_disk_fills_while_it_is_built(on_it: Docker, disk: Path, python: str) -> None:
    log = CACHE / "build" / f"{SMALL}.log"
    log.unlink(missing_ok=True)
    building = start(on_it, "--base", python)
    wait_until(lambda: log.exists() and "rest.txt" in log.read_text(), "its longest step", 300)
    filler = disk / "filler"
    subprocess.run(["fallocate", "--length", str(shutil.disk_usage(disk).free - 2**26), filler], check=True)
    _, said = building.communicate(timeout=600)
    assert building.returncode == 2
    assert "was not built: the engine's disk is full" in said
    assert "cure: free some there: docker system df, docker builder prune" in said
    filler.unlink()
    assert on_it.run("images", "--quiet").split() == [on_it.run("images", "--quiet", python)]
