"""The GPUs that a stack claims (docker/stacks.yml `gpus`) are those its kernels hold machine code for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gpulab.images.image import Image
from tests.images.box import Box

KERNELS = yaml.safe_load((Path(__file__).parent / "kernels.yml").read_text())


def runs_on(code: list[int], gpu: float) -> bool:
    """Machine code runs on GPUs of its major capability and of its minor one or newer."""
    number = round(gpu * 10)
    return any(number // 10 == one // 10 and number >= one for one in code)


def lacking(here: Box, globs: list[str], gpus: list[float]) -> dict[str, list[float]]:
    """Set of libraries -> the claimed GPUs that none of them has code for."""
    found = {glob: here.ask("kernels.py", glob, timeout=600) for glob in globs}
    assert all(found.values()), f"no such library: {[g for g, libraries in found.items() if not libraries]}"
    codes = {glob: sorted({c for code in libraries.values() for c in code}) for glob, libraries in found.items()}
    return {f"{g} {code}": lost for g, code in codes.items() if (lost := [x for x in gpus if not runs_on(code, x)])}


def claims(image: Image) -> tuple[list[str], list[float]]:
    root = image.line[0].stack
    return KERNELS[root.name], root.pins.gpus


def test_the_kernels_are_for_the_gpus_claimed(here: Box) -> None:
    globs, gpus = claims(here.image)
    assert gpus
    assert lacking(here, globs, gpus) == {}


def test_a_gpu_that_nobody_has_kernels_for_is_seen(here: Box) -> None:
    globs, _ = claims(here.image)
    assert lacking(here, globs, [3.5])


@pytest.mark.parametrize(("gpu", "runs"), [(8.0, True), (8.9, True), (9.0, False), (7.5, False)])
def test_code_for_8_0_runs_on_8_9_and_not_on_9_0(gpu: float, runs: bool) -> None:
    assert runs_on([80], gpu) is runs
