"""Tests of images: those in every/, in cuda/ where torch is, in the stack's own folder and in its parents'.

pytest tests/images --image-stack cpu,vllm     images of the engine that docker reaches, built before
pytest tests/images                            cpu's, built by the testbed's engine where that can run
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpulab.common.docker import Docker
from gpulab.images.image import Image
from gpulab.stacks.stack import load_stack
from tests.images.box import Box, box
from tests.testbed import engine

UNASKED = "cpu"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image-stack", default="", help="test the images of these stacks: cpu,vllm")


def asked(config: pytest.Config) -> list[str]:
    return (config.getoption("--image-stack", default="") or UNASKED).split(",")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test runs for each image asked for whose line of stacks has the test's folder."""
    if "image" in metafunc.fixturenames:
        folder = metafunc.definition.path.parent.name
        stacks = [load_stack(name) for name in asked(metafunc.config)]
        fits = [s.name for s in stacks if folder in ("every", s.pins.torch, *(one.stack.name for one in Image(s).line))]
        metafunc.parametrize("image", fits, indirect=True, scope="session")


@pytest.fixture(scope="session")
def docker(request: pytest.FixtureRequest) -> Docker:
    """The engine with the images."""
    if request.config.getoption("--image-stack"):
        return Docker()
    if reason := engine.lacking("building images needs"):
        pytest.skip(reason)
    from tests.testbed.stack_images import built, environment

    built(UNASKED)
    return Docker(environment=environment())


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest, docker: Docker) -> Image:
    """One image, which must be there."""
    one = Image(load_stack(request.param))
    there = docker.try_run("image", "inspect", one.tag)
    assert there.returncode == 0, f"{docker.complaint(there.stderr).message}: ./inv build {request.param}"
    return one


@pytest.fixture(scope="session")
def here(image: Image, docker: Docker) -> Iterator[Box]:
    """A container of it, for looking; nothing may be changed in it."""
    with box(image, docker) as running:
        yield running


@pytest.fixture
def broken(image: Image, docker: Docker) -> Iterator[Box]:
    """A container of a test's own, to break something in: the checks must see it."""
    with box(image, docker) as running:
        yield running
