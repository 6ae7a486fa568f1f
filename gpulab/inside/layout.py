"""Layout: how many GPUs share what of a model in Megatron, and which rank holds which part."""

from __future__ import annotations

from dataclasses import dataclass, replace

# The names of ms-swift's flags for what a layout decides.
AXES = {
    "tensor": "tensor_model_parallel_size",
    "pipeline": "pipeline_model_parallel_size",
    "context": "context_parallel_size",
    "expert": "expert_model_parallel_size",
}


@dataclass(frozen=True)
class Layout:
    """`nodes` with `gpus` each, divided by tensor, pipeline and context parallelism; the rest is data parallel.

    Experts have a grid of their own over the same ranks: expert_tensor x expert x expert_data x pipeline.
    `reasons` says in a line each why it is so.
    """

    nodes: int
    gpus: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    expert: int = 1
    expert_tensor: int = 1
    reasons: tuple[str, ...] = ()

    @property
    def world(self) -> int:
        """How many GPUs, one rank each."""
        return self.nodes * self.gpus

    @property
    def model(self) -> int:
        """How many GPUs hold one copy of the model."""
        return self.tensor * self.pipeline * self.context

    @property
    def data(self) -> int:
        """How many copies train side by side."""
        return self.world // self.model

    @property
    def expert_data(self) -> int:
        """How many ranks hold the same experts."""
        return self.world // (self.expert_tensor * self.expert * self.pipeline)

    @property
    def crosses_nodes(self) -> bool:
        """Whether groups that talk in every layer reach over the nodes' own links: NVLink ends at the node."""
        return self.gpus % self.tensor != 0 or self.gpus % (self.expert * self.expert_tensor) != 0

    def resized(self, axis: str, size: int) -> Layout:
        """The same with another size of one axis."""
        return replace(self, **{axis: size})  # type: ignore[arg-type]  # an axis is an int

    def stages(self, layers: int, first: int | None = None, last: int | None = None) -> list[int]:
        """Layers of each pipeline stage; `first` and `last` are those that were given for these stages."""
        middle = self.pipeline - (first is not None) - (last is not None)
        rest = layers - (first or 0) - (last or 0)
        head, tail = [first] if first is not None else [], [last] if last is not None else []
        return head + [rest // middle if middle > 0 else 0] * middle + tail

    def coordinates(self, rank: int) -> dict[str, int]:
        """Where a rank stands, in Megatron's order `tp-cp-ep-dp-pp` (parallel_state.py: the first varies fastest).

        `dp`, `tp` and `cp` are of the dense layers' grid, `ep` of the experts', in which there is no `cp`.
        """
        place, rest = {}, rank
        for name, size in (("tp", self.tensor), ("cp", self.context), ("dp", self.data), ("pp", self.pipeline)):
            place[name], rest = rest % size, rest // size
        place["ep"] = rank // self.expert_tensor % self.expert
        return place
