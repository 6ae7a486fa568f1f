"""A lab's step and its layout: what `{layout.tensor}` and its like in a `run:` line stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.common.errors import UsageError
from gpulab.common.numbers import whole
from gpulab.inside.layout import AXES, Layout
from gpulab.lab import flags
from gpulab.plan.layout.choose import Asked, choose_layout
from gpulab.plan.layout.shape import Shape, find_shape
from gpulab.plan.layout.training import read_training

if TYPE_CHECKING:
    from gpulab.lab.lab import Lab

PLACEHOLDERS = {f"{{layout.{axis}}}": axis for axis in AXES}


@dataclass(frozen=True)
class Devices:
    """The GPUs that each node has: how many, and the memory of each in GiB."""

    count: int
    vram_gib: float


def wants_layout(argv: Sequence[str]) -> bool:
    """Whether a command line leaves something of its layout to be chosen."""
    return any(placeholder in word for word in argv for placeholder in PLACEHOLDERS)


def layout_values(layout: Layout) -> Mapping[str, str]:
    """What the placeholders stand for."""
    return {f"layout.{axis}": str(getattr(layout, axis)) for axis in AXES}


def lay_out(lab: Lab, step: str, argv: Sequence[str], nodes: int, devices: Devices) -> Layout:
    """The layout of one Megatron step: what its flags say is set, what is a placeholder is chosen.

    `argv` has every layer of flags, placeholders still in it. Raises UsageError where no layout is possible.
    """
    given = flags.read(argv, lab.folder)
    for placeholder, axis in PLACEHOLDERS.items():
        if any(placeholder in word for word in argv) and given.get(AXES[axis]) != placeholder:
            raise UsageError(
                f"{step}: {placeholder} is what Megatron's --{AXES[axis]} is to be, and nothing else",
                f"write --{AXES[axis]} {placeholder}, or a number",
            )
    fixed = {}
    for axis, flag in AXES.items():
        value = str(given.get(flag, 1))
        if value in PLACEHOLDERS:
            continue
        fixed[axis] = _size(step, flag, value, f"a number, or {{layout.{axis}}}: the planner's")
    expert_tensor = "expert_tensor_parallel_size"
    return choose_layout(
        Asked(
            step=step,
            nodes=nodes,
            gpus=devices.count,
            vram_gib=devices.vram_gib,
            shape=step_shape(lab, argv),
            training=read_training(argv, lab.folder),
            fixed=fixed,
            expert_tensor=_size(step, expert_tensor, str(given.get(expert_tensor, 1)), "a number from 1 on"),
        )
    )


def _size(step: str, flag: str, word: str, cure: str) -> int:
    size = whole(word)
    if size is None or size < 1:
        raise UsageError(f"{step}: {flag}={word} is no size", cure)
    return size


def step_shape(lab: Lab, argv: Sequence[str]) -> Shape:
    """The shape of the model that a step names, else of the lab's. Raises UsageError where none is known."""
    named = str(flags.read(argv, lab.folder).get("model", ""))
    if named and "{" not in named:
        folder = lab.folder / Path(named)
        return find_shape(str(folder) if folder.is_dir() else named)
    if not lab.model:
        raise UsageError(f"{lab.name} names no model to lay out", "add `model: ORG/NAME` to its lab.yaml")
    return find_shape(lab.model)
