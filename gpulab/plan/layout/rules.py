"""What Megatron and ms-swift refuse: each rule with the place in their source where it stands.

`megatron/core` is megatron-core's, `swift/megatron` is ms-swift's, `mcore_bridge` the bridge's between them. The
vocabulary needs no rule (mcore_bridge/model/gpt_model.py pads it), nor does the length (ms-swift pads each sample).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from gpulab.common.errors import UsageError
from gpulab.inside.layout import AXES, Layout
from gpulab.plan.layout.shape import Shape
from gpulab.plan.layout.training import Training

Rule = Callable[[Layout, Shape, Training], tuple[str, str] | None]


@cache
def divisors(number: int) -> tuple[int, ...]:
    """In order."""
    return tuple(n for n in range(1, number + 1) if number % n == 0)


def _heads(layout: Layout, shape: Shape, _: Training) -> tuple[str, str] | None:
    """megatron/core/transformer/transformer_config.py: num_attention_heads must be a multiple of the tensor size."""
    if shape.heads % layout.tensor:
        return f"{shape.heads} attention heads can't be shared by a tensor parallel size of {layout.tensor}", "tensor"
    return None


def _kv_heads(layout: Layout, shape: Shape, _: Training) -> tuple[str, str] | None:
    """Same file: num_query_groups must be a multiple or a divisor of the tensor size."""
    if shape.kv_heads % layout.tensor and layout.tensor % shape.kv_heads:
        return (
            f"{shape.kv_heads} key/value heads can't be shared by a tensor parallel size of {layout.tensor}",
            "tensor",
        )
    return None


def _ffn(layout: Layout, shape: Shape, _: Training) -> tuple[str, str] | None:
    """megatron/core/tensor_parallel/layers.py: the divided side of a linear layer is `divide`d, without a rest."""
    widths = [(shape.ffn, layout.tensor)] if shape.dense_layers else []
    widths += [(shape.moe_ffn, layout.expert_tensor), (shape.shared_ffn, layout.tensor)] if shape.experts else []
    for width, ways in widths:
        if width % ways:
            return f"an MLP of width {width} can't be shared by a tensor parallel size of {ways}", "tensor"
    return None


def _stages(layout: Layout, shape: Shape, training: Training) -> tuple[str, str] | None:
    """transformer_config.py: what the first and the last stage leave must divide by the stages between."""
    first, last = training.first_layers, training.last_layers
    stages = layout.stages(shape.layers, first, last)
    if len(stages) != layout.pipeline or sum(stages) != shape.layers or min(stages) < 1:
        given = " and ".join(f"{n} in the {w} stage" for w, n in (("first", first), ("last", last)) if n is not None)
        split = f" with {given}" if given else ""
        return f"{shape.layers} layers{split} can't be shared by {layout.pipeline} pipeline stages", "pipeline"
    return None


def _virtual(layout: Layout, shape: Shape, training: Training) -> tuple[str, str] | None:
    """parallel_state.py: interleaving needs more than one stage; transformer_config.py: and layers that divide."""
    stages = layout.stages(shape.layers, training.first_layers, training.last_layers)
    if training.virtual > 1 and (layout.pipeline < 2 or any(n % training.virtual for n in stages)):
        return f"{max(stages)} layers of a stage can't be {training.virtual} virtual stages", "pipeline"
    return None


def _deep(layout: Layout, shape: Shape, training: Training) -> tuple[str, str] | None:
    """mcore_bridge/model/mm_gpts/qwen3_vl.py: the first stage has a layer for each of the tower's that it shows."""
    first = layout.stages(shape.layers, training.first_layers, training.last_layers)[0] // training.virtual
    if shape.vision and shape.vision.deep > first:
        return (
            f"{shape.vision.deep} layers of the vision tower are shown to the first stage, which has {first}",
            "pipeline",
        )
    return None


def _experts(layout: Layout, shape: Shape, _: Training) -> tuple[str, str] | None:
    """megatron/training/arguments.py: experts are a multiple of the expert size; a dense model has none."""
    if layout.expert > 1 and not shape.experts:
        return f"the model has no experts for an expert parallel size of {layout.expert}", "expert"
    if shape.experts % layout.expert:
        return f"{shape.experts} experts can't be shared by an expert parallel size of {layout.expert}", "expert"
    return None


def _sequence_parallel(layout: Layout, shape: Shape, training: Training) -> tuple[str, str] | None:
    """megatron/core/transformer/moe/moe_layer.py: experts under tensor parallelism train with sequence parallelism."""
    if shape.experts and layout.tensor > 1 and not training.sequence_parallel:
        return "experts and tensor parallelism train together only with sequence parallelism", "sequence_parallel=true"
    return None


def _expert_gradients(layout: Layout, shape: Shape, training: Training) -> tuple[str, str] | None:
    """megatron/core/extensions/transformer_engine.py, TEGroupedLinear: without expert parallelism their gradients are
    added up over the dense layers' replicas, whatever the experts' own are: no error, and each tensor parallel rank
    trains experts of its own (NVIDIA/Megatron-LM#5916). Measured: a loss is 16% off within 12 steps of a twin."""
    if not shape.experts or layout.expert > 1 or layout.expert_tensor == layout.tensor or training.command == "export":
        return None
    return (
        f"experts under tensor {layout.tensor} with expert tensor {layout.expert_tensor} and expert 1 would be trained "
        "apart on each rank: Megatron does not add up their gradients",
        "expert",
    )


def _world(layout: Layout, _: Shape, __: Training) -> tuple[str, str] | None:
    """parallel_state.py: the world divides by tensor x pipeline x context."""
    if layout.world % layout.model:
        sizes = f"tensor {layout.tensor} x pipeline {layout.pipeline} x context {layout.context}"
        return f"{layout.world} GPUs can't be divided by {sizes} = {layout.model}", "pipeline"
    return None


def _expert_world(layout: Layout, _: Shape, __: Training) -> tuple[str, str] | None:
    """parallel_state.py: and by expert tensor x expert x pipeline."""
    ways = layout.expert_tensor * layout.expert * layout.pipeline
    if layout.world % ways:
        sizes = f"expert tensor {layout.expert_tensor} x expert {layout.expert} x pipeline {layout.pipeline}"
        return f"{layout.world} GPUs can't be divided by {sizes} = {ways}", "expert"
    return None


def _batch(layout: Layout, _: Shape, training: Training) -> tuple[str, str] | None:
    """swift/megatron/arguments/megatron_args.py: the global batch is a multiple of micro batch x data parallel."""
    at_once = training.micro * layout.data
    if training.command != "export" and training.batch % at_once:
        return (
            f"a global batch of {training.batch} is no multiple of {at_once} "
            f"(micro batch {training.micro} x {layout.data} data parallel)",
            f"global_batch_size={-(-training.batch // at_once) * at_once}",
        )
    return None


# In the order in which they are told: of one number, then of several.
RULES: tuple[Rule, ...] = (
    _heads, _kv_heads, _ffn, _experts, _stages, _virtual, _deep, _sequence_parallel, _world, _expert_world, _batch,
    _expert_gradients,
)  # fmt: skip


def broken(layout: Layout, shape: Shape, training: Training) -> tuple[int, str, str] | None:
    """(which rule, what is wrong, what helps: an axis to change, or `flag=value`) of the first that is broken."""
    for number, rule in enumerate(RULES):
        if wrong := rule(layout, shape, training):
            return number, *wrong
    return None


def allowed(axis: str, layout: Layout, shape: Shape, training: Training) -> Iterator[int]:
    """The sizes of one axis that break no rule, all else as it is."""
    for size in divisors(layout.world):
        if not broken(layout.resized(axis, size), shape, training):
            yield size


def refusal(step: str, wrong: tuple[int, str, str], layout: Layout, shape: Shape, training: Training) -> UsageError:
    """A broken rule as the user's error, its cure a `--set` that would do."""
    _, message, helps = wrong
    if helps in AXES:
        sizes = list(allowed(helps, layout, shape, training))
        cure = f"one of {', '.join(map(str, sizes))}" if sizes else f"not together with the other sizes; try {helps} 1"
        return UsageError(f"{step}: {message}", f"--set {step}.{AXES[helps]}=N, {cure}")
    return UsageError(f"{step}: {message}", f"--set {step}.{helps}")
