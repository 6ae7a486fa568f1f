"""What would help a training that does not fit its GPUs: the first of the usual ways that does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gpulab.plan.layout.memory import Memory
from gpulab.plan.layout.rules import divisors
from gpulab.plan.layout.shape import Shape
from gpulab.plan.layout.step import Devices
from gpulab.plan.layout.training import Training

Change = dict[str, str]
Estimate = Callable[[Change, int], Memory | None]  # other flags, a number of nodes -> memory; None: not possible


def find_cure(
    step: str, shape: Shape, training: Training, devices: Devices, nodes: int, estimate: Estimate, *, spreads: bool
) -> str:
    """In words that can be typed: `--nodes 4`, `--set train.tuner_type=lora`."""
    for change, count in _ways(shape, training, nodes, nodes * devices.count, spreads=spreads):
        memory = estimate(change, count)
        if memory and memory.total <= devices.vram_gib:
            more = [f"--nodes {count}"] if count != nodes else []
            return " ".join([*more, *(f"--set {step}.{flag}={value}" for flag, value in change.items())])
    return "take GPUs with more memory, or a smaller model"


def _ways(shape: Shape, training: Training, nodes: int, world: int, *, spreads: bool) -> Iterator[tuple[Change, int]]:
    """From what costs least to what changes the training."""
    saving: Change = {}
    if not training.recompute:
        saving = {"gradient_checkpointing": "true"}
        if training.megatron:
            saving = {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": "1"}
        yield saving, nodes
    if training.megatron:
        for stages in divisors(world)[1:]:  # layers that don't divide: fewer in the last stage
            each = -(-shape.layers // stages)
            last = shape.layers - each * (stages - 1)
            if 0 < last < each:
                yield saving | {"decoder_last_pipeline_num_layers": str(last)}, nodes
    elif training.full and training.zero < 3:
        yield saving | {"deepspeed": "zero3"}, nodes
    if spreads:
        for more in (2, 4, 8, 16, 32, 64):
            yield saving, nodes * more
    for part in (2, 4, 8):
        if training.sequence // part >= 512:
            yield saving | {"max_length": str(training.sequence // part)}, nodes
    if training.full:
        yield saving | {"tuner_type": "lora"}, nodes
    elif not training.megatron:
        yield saving | {"quant_bits": "4", "quant_method": "bnb"}, nodes
