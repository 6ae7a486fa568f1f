"""A step as `inv plan` sees it: a row for each rank, how its model is laid out, the memory of its fullest GPU."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure
from gpulab.inside.layout import Layout
from gpulab.lab.lab import Lab
from gpulab.plan.layers import with_all_flags
from gpulab.plan.layout.memory import Memory, megatron_memory, swift_memory
from gpulab.plan.layout.remedies import find_cure
from gpulab.plan.layout.shape import Shape
from gpulab.plan.layout.step import Devices, lay_out, step_shape
from gpulab.plan.layout.training import Training, read_training
from gpulab.plan.plan import Command, Node

Settings = Mapping[str, str]


@dataclass(frozen=True)
class Cluster:
    """What is planned for: nodes with the GPUs of each, and where that is known from."""

    nodes: list[Node]
    devices: Devices
    known: str


@dataclass(frozen=True)
class Planned:
    """One step: its ranks as rows, how it is laid out if it is Megatron's, the memory of its fullest GPU if known."""

    step: str
    command: Command
    nodes: int
    ranks: list[dict[str, Any]]
    layout: Layout | None
    memory: Memory | None
    failure: Failure | None = None


def plan_step(lab: Lab, step: str, commands: list[Command], cluster: Cluster, settings: Settings) -> Planned:
    """The step that these commands carry out, one for each node."""
    first = commands[0]
    local = first.world // len(commands)
    argv = with_all_flags(lab, step, lab.steps[step], cpu=False, settings=settings)
    training = read_training(argv, lab.folder)
    layout = None
    if training.megatron:
        layout = lay_out(lab, step, argv, len(commands), Devices(local, cluster.devices.vram_gib))
    memory = failure = None
    visible = _visible(first, cluster.devices.count)
    shape = _shape(lab, argv) if training.command else None
    if shape:
        devices = replace(cluster.devices, count=len(visible))
        estimate = functools.partial(_estimate, lab, step, settings, local, devices, shape)
        memory = estimate({}, len(commands))
        vram = cluster.devices.vram_gib
        if memory and memory.total > vram > 0:
            spreads = lab.steps[step].spread
            cure = find_cure(step, shape, training, devices, len(commands), estimate, spreads=spreads)
            failure = Failure(f"does not fit: about {memory.total:.0f} GiB on a GPU of {vram:g}", cure, f"step {step}")
    ranks = _ranks(commands, cluster.nodes[0].name, visible, local, layout, training)
    return Planned(step, first, len(commands), ranks, layout, memory, failure)


def _shape(lab: Lab, argv: Sequence[str]) -> Shape | None:
    try:
        return step_shape(lab, argv)
    except UsageError:  # without a layout to choose it is no mistake, only nothing to estimate from
        return None


def _estimate(
    lab: Lab, step: str, settings: Settings, local: int, devices: Devices, shape: Shape, change: Settings, nodes: int
) -> Memory | None:
    """The step's memory with other flags or on other nodes; None where that can't be, or can't be said."""
    argv = with_all_flags(lab, step, lab.steps[step], cpu=False, settings={**settings, **change})
    training = read_training(argv, lab.folder)
    if training.command == "rlhf" and not training.trains:  # a teacher, a reward model or an engine beside it
        return None
    if not training.megatron:
        return swift_memory(shape, training, nodes * local, local, devices.count)
    if not training.trains and training.command != "export":
        return None
    try:
        return megatron_memory(shape, training, lay_out(lab, step, argv, nodes, Devices(local, devices.vram_gib)))
    except UsageError:
        return None


def _visible(command: Command, count: int) -> list[int]:
    """The node's GPUs that a command may use."""
    named = command.env.get("CUDA_VISIBLE_DEVICES", "")
    return [int(word) for word in named.split(",") if word.strip().isdigit()] or list(range(count))


def _ranks(
    commands: list[Command], alone: str, visible: list[int], local: int, layout: Layout | None, training: Training
) -> list[dict[str, Any]]:
    """A row for each process. Without DeepSpeed's and FSDP's sharding transformers spreads it over its share of the
    node's GPUs, an inference engine over as many as its own flag says."""
    several = training.command and not (training.megatron or training.zero)
    rows = []
    for node, command in enumerate(commands):
        name = command.node or alone
        for rank in range(local):
            devices = visible[rank::local] if several else visible[rank : rank + 1]
            if training.serving_ways:
                devices = visible[: training.serving_ways]
            row: dict[str, Any] = {"rank": node * local + rank, "node": name, "local_rank": rank, "devices": devices}
            rows.append(row | (layout.coordinates(row["rank"]) if layout else {}))
    return rows
