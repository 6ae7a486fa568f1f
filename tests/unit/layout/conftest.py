"""Steps as their command lines have them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from gpulab.inside.layout import Layout
from gpulab.plan.layout.choose import Asked, choose_layout
from gpulab.plan.layout.shape import find_shape
from gpulab.plan.layout.training import Training, read_training

USUAL = "--sequence_parallel true --recompute_granularity full --micro_batch_size 1 --max_length 8192"
Choose = Callable[..., Layout]


def training(line: str) -> Training:
    """What a command line says."""
    return read_training(shlex.split(line), Path())


@pytest.fixture
def choose() -> Choose:
    """choose(model, nodes, gpus, vram, more flags, tensor=4, ...): the layout of a `megatron sft` step named train."""

    def chosen(model: str, nodes: int, gpus: int, vram: float, more: str = "", **fixed: int) -> Layout:
        step = training(f"megatron sft {USUAL} --global_batch_size 16 {more}")
        return choose_layout(Asked("train", nodes, gpus, vram, find_shape(model), step, fixed))

    return chosen
