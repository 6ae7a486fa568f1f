"""The layout of a Megatron step: as little model parallelism as fits, since data parallelism costs least.

The order of preference is that of Megatron's own guides (docs/user-guide/parallelism-guide.md; core/transformer/moe/
README.md, guidelines 1 to 4): all that talks in every layer inside a node, then the smallest tensor x pipeline x
context, and among equals tensor before context before pipeline, and the fewest expert parallel ranks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gpulab.inside.layout import AXES, Layout
from gpulab.plan.layout.memory import Memory, megatron_memory
from gpulab.plan.layout.rules import broken, divisors, refusal
from gpulab.plan.layout.shape import Shape
from gpulab.plan.layout.training import Training

ROOMY = 0.9  # of VRAM: estimates are usually up to a tenth below what a run takes (docs/measurements.md)
SLICE = 4096  # tokens that context parallelism leaves a GPU at least: it pays from 8K on (guideline 5)


@dataclass(frozen=True)
class Asked:
    """What a layout is chosen for: the step, `vram_gib` of each GPU (0: not known), and the sizes that are set."""

    step: str
    nodes: int
    gpus: int
    vram_gib: float
    shape: Shape
    training: Training
    fixed: Mapping[str, int]
    expert_tensor: int = 1


def choose_layout(asked: Asked) -> Layout:
    """The best layout that the set sizes leave, with its reasons; where none fits the VRAM, the one that needs least.

    Raises UsageError naming the flag and the cure where every layout breaks a rule.
    """
    shape, training = asked.shape, asked.training
    good: list[tuple[Layout, Memory]] = []
    bad: list[tuple[tuple[int, str, str], Layout]] = []
    for layout in _candidates(asked):
        if wrong := broken(layout, shape, training):
            bad.append((wrong, layout))
        else:
            good.append((layout, megatron_memory(shape, training, layout)))
    if not good:  # the one that came furthest tells most; of these the one that is nearest to all data parallel
        wrong, layout = max(bad, key=lambda b: (b[0][0], -b[1].model, -b[1].expert))
        raise refusal(asked.step, wrong, layout, shape, training)
    layout, _ = min(good, key=lambda found: _preference(asked, *found))
    return replace(layout, reasons=tuple(_reasons(asked, layout)))


def _candidates(asked: Asked) -> Iterator[Layout]:
    """Every combination of sizes that could be; a size that is set is taken as it is, even over nodes."""
    sizes = {
        "tensor": divisors(asked.gpus),
        "pipeline": divisors(asked.nodes * asked.gpus),
        "context": [n for n in divisors(asked.nodes * asked.gpus) if n == 1 or n * SLICE <= asked.training.sequence],
        "expert": divisors(asked.shape.experts or 1),
    }
    tried = [(asked.fixed[axis],) if axis in asked.fixed else sizes[axis] for axis in AXES]
    for tensor, pipeline, context, expert in itertools.product(*tried):
        layout = Layout(asked.nodes, asked.gpus, tensor, pipeline, context, expert, asked.expert_tensor)
        if pipeline <= asked.shape.layers or "pipeline" in asked.fixed:
            yield layout


def _preference(asked: Asked, layout: Layout, memory: Memory) -> tuple[float, ...]:
    tight = 0 if memory.total <= ROOMY * asked.vram_gib else 1 if memory.total <= asked.vram_gib else 2
    if tight == 2 and asked.vram_gib:
        return (2, memory.total)
    return (tight, layout.crosses_nodes, layout.model, layout.pipeline, layout.context, layout.expert)


def _reasons(asked: Asked, layout: Layout) -> Iterator[str]:
    for axis in AXES:
        size = getattr(layout, axis)
        if (axis == "expert" and not asked.shape.experts) or (size == 1 and axis in asked.fixed):
            continue  # Megatron's own default: nothing to explain
        yield f"{axis} {size}: {_reason(asked, layout, axis, size)}"
    if asked.training.command == "export":
        return
    passes = asked.training.batch // (asked.training.micro * layout.data)
    gpus = f"{layout.world} GPU{'s' * (layout.world > 1)}"
    yield (
        f"data {layout.data}: what is left of {gpus}; a global batch of {asked.training.batch} is "
        f"{layout.data} x {passes} micro batch{'es' * (passes > 1)} of {asked.training.micro}"
    )


def _reason(asked: Asked, layout: Layout, axis: str, size: int) -> str:
    far = "; it reaches over nodes, where NVLink ends" if axis in ("tensor", "expert") and asked.gpus % size else ""
    if axis in asked.fixed:
        return "as set" + far
    if size == 1:
        return "not needed"
    smaller = [layout.resized(axis, n) for n in reversed(divisors(layout.world)) if n < size]
    for other in smaller:
        if not broken(other, asked.shape, asked.training):
            need = megatron_memory(asked.shape, asked.training, other).total
            if need <= ROOMY * asked.vram_gib:
                return f"with {getattr(other, axis)} it would reach over nodes"
            close = ", too close" if need <= asked.vram_gib else ""
            return f"with {getattr(other, axis)} a GPU would need {need:.0f} GiB of {asked.vram_gib:g}{close}{far}"
    wrong = broken(smaller[0], asked.shape, asked.training)
    assert wrong  # noqa: S101 (else it had been returned above)
    return f"with {getattr(smaller[0], axis)}, {wrong[1]}{far}"
