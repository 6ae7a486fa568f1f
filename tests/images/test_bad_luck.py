"""What goes wrong while an image is built, against a real engine: one clear line, and nothing half made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from gpulab.docker import Docker
from gpulab.image import Image
from gpulab.paths import CACHE, ROOT
from gpulab.stacks import load_stack
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
    assert "was not built: the package index was not reached" in said
    assert "cure: check network, mirror (UV_DEFAULT_INDEX)" in said


def test_a_base_without_the_stacks_python(docker: Docker) -> None:
    from tests.testbed.pythons import DEBIANS_OWN, python_base

    done = start(docker, "--base", python_base(DEBIANS_OWN))
    _, said = done.communicate(timeout=300)
    assert done.returncode == 2
    assert "was not built: the base image lacks the stack's Python" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_stops_at_once(docker: Docker, python: str, number: int) -> None:
    log = CACHE / "build" / f"{SMALL}.log"
    log.unlink(missing_ok=True)
    building = start(docker, "--base", python)
    wait_until(lambda: log.exists() and "rest.txt" in log.read_text(), "its longest step")
    os.killpg(building.pid, number)
    building.communicate(timeout=60)
    assert building.returncode == (130 if number == signal.SIGINT else 2)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_built(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpulab.build import run
    from gpulab.errors import UsageError

    usage = run.shutil.disk_usage("/")
    monkeypatch.setattr(run.shutil, "disk_usage", lambda _: usage._replace(free=2**30))
    with pytest.raises(UsageError, match=r"the image of eval needs \d+ GiB while it is built, .* has 1\.0"):
        run.check_disk(load_stack(SMALL), docker)
