"""Whether the planner and Megatron agree on a layout; benchmarks/layouts.py asks the same of all."""

from __future__ import annotations

from gpulab.inside.layout import AXES, Layout
from gpulab.plan.layout.rules import broken
from gpulab.plan.layout.shape import Shape
from gpulab.plan.layout.training import Training

WITHIN = 0.01  # of the loss of one process, at every step


def refused(shape: Shape, ranks: int, sizes: str) -> str:
    """Why the planner refuses a layout such as 2x1x1x2 for trainings.py's batches, "" where it allows it."""
    layout = Layout(1, ranks, **dict(zip(AXES, map(int, sizes.split("x")), strict=True)))
    wrong = broken(
        layout, shape, Training(command="sft", megatron=True, batch=24 if ranks == 8 else 12, sequence_parallel=True)
    )
    return wrong[1] if wrong else ""


def disagreement(shape: Shape, ranks: int, sizes: str, said: list[float] | str, one: list[float]) -> str | None:
    """What is wrong, in words; None where both allow it and it trains as one process does, or both refuse it."""
    why = refused(shape, ranks, sizes)
    if why:
        apart = "trained apart" in why  # Megatron trains such a layout, and wrongly
        return None if apart or isinstance(said, str) else f"Megatron trains what the planner refuses: {why}"
    if isinstance(said, str):
        return f"the planner allows what Megatron refuses: {said[-300:]}"
    furthest = max(abs(a - b) / a for a, b in zip(one, said, strict=True))
    return f"a loss is {furthest:.1%} from that of one process" if furthest > WITHIN else None
