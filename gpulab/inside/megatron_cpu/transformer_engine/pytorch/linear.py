"""Linear layers, whole or shared out over a tensor parallel group by Megatron-Core's own collectives."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.nn.functional as F

from ..refuse import refuse
from .module.base import TransformerEngineBaseModule
from .norms import normalize, parameter


class Shared(TransformerEngineBaseModule):
    """What they have in common: how weights are made, and how a group shares the work."""

    def __init__(
        self, *, sequence_parallel: bool, fuse_wgrad_accumulation: bool, tp_group: Any, tp_size: int,
        get_rng_state_tracker: Any, init_method: Any, parallel_mode: str | None, params_dtype: Any, return_bias: bool,
        rng_tracker_name: str | None = None, device: Any = None, delay_wgrad_compute: bool = False, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if fuse_wgrad_accumulation:
            refuse("fused weight gradients (gradient_accumulation_fusion)")
        if delay_wgrad_compute:
            refuse("delayed weight gradients (delay_wgrad_compute)")
        if overlaps := [name for name, value in more.items() if name.startswith("ub_overlap") and value]:
            refuse(f"overlap of tensor parallel communication ({overlaps[0]})")
        self.tp_size, self.parallel_mode, self._group = tp_size, parallel_mode, tp_group
        self.sequence_parallel = sequence_parallel and tp_size > 1
        self.return_bias, self._tracker, self._tracked = return_bias, get_rng_state_tracker, rng_tracker_name
        self._init, self._made = init_method, {"dtype": params_dtype, "device": device}

    def set_tensor_parallel_group(self, group: Any) -> None:
        """Where the group was not known at first."""
        self._group = group

    def share(self, rows: int, columns: int) -> tuple[int, int]:
        """This rank's part of a weight."""
        if self.parallel_mode == "column":
            return rows // self.tp_size, columns
        return rows, columns // self.tp_size if self.parallel_mode == "row" else columns

    def weight_of(self, rows: int, columns: int) -> torch.nn.Parameter:
        """A weight, drawn from the random states that Megatron-Core keeps for it."""
        from megatron.core.tensor_parallel.layers import set_tensor_model_parallel_attributes

        made = torch.nn.Parameter(torch.zeros(rows, columns, **self._made))
        name = {"name": self._tracked} if self._tracked else {}
        with self._tracker().fork(**name) if self._tracker else contextlib.nullcontext():
            self._init(made)
        set_tensor_model_parallel_attributes(
            made, self.parallel_mode is not None, 1 if self.parallel_mode == "row" else 0, 1
        )
        return made

    def bias_of(self, rows: int) -> torch.nn.Parameter:
        """A bias: in halves with the outputs, or whole on every rank."""
        made = torch.nn.Parameter(torch.zeros(rows, **self._made))
        if self.parallel_mode == "row":
            made.sequence_parallel = self.sequence_parallel  # type: ignore[attr-defined]
        elif self.parallel_mode == "column":
            made.tensor_model_parallel, made.partition_dim, made.partition_stride = True, 0, 1  # type: ignore[attr-defined]
        return made

    def compute(self, x: Any, weight: Any, bias: Any) -> Any:
        """x W^T + b, with the group's part in it; (.., b) where the bias is left to who asks."""
        from megatron.core.tensor_parallel import mappings

        together = self.tp_size > 1 and self._group is not None
        if together and self.parallel_mode == "column":
            if self.sequence_parallel:
                x = mappings.gather_from_sequence_parallel_region(x, group=self._group)
            else:
                x = mappings.copy_to_tensor_model_parallel_region(x, group=self._group)
        y = F.linear(x, weight)
        if together and self.parallel_mode == "row":
            if self.sequence_parallel:
                y = mappings.reduce_scatter_to_sequence_parallel_region(y, group=self._group)
            else:
                y = mappings.reduce_from_tensor_model_parallel_region(y, group=self._group)
        if self.return_bias:
            return y, bias
        return y if bias is None else y + bias


class Linear(Shared):
    """One weight."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, **more: Any) -> None:
        super().__init__(**more)
        rows, columns = self.share(out_features, in_features)
        self.in_features, self.out_features, self.use_bias = columns, rows, bias
        self.weight = self.weight_of(rows, columns)
        self.bias = self.bias_of(rows) if bias else None

    def forward(self, x: Any, is_first_microbatch: bool | None = None, **more: Any) -> Any:
        """See Shared.compute."""
        return self.compute(x, self.weight, self.bias)


class LayerNormLinear(Linear):
    """A norm before it."""

    def __init__(
        self, in_features: int, out_features: int, eps: float = 1e-5, normalization: str = "LayerNorm",
        zero_centered_gamma: bool = False, return_layernorm_output: bool = False, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, **more)
        self.return_layernorm_output = return_layernorm_output  # LoRA's layers switch it on: theirs is the same input
        self.eps, self.normalization, self.zero_centered_gamma = eps, normalization, zero_centered_gamma
        made = (*self._made.values(), self.sequence_parallel)
        self.layer_norm_weight = parameter((in_features,), 0.0 if zero_centered_gamma else 1.0, *made)
        self.layer_norm_bias = parameter((in_features,), 0.0, *made) if normalization == "LayerNorm" else None

    def forward(self, x: Any, is_first_microbatch: bool | None = None, **more: Any) -> Any:
        """See Shared.compute."""
        norm = (self.layer_norm_weight, self.layer_norm_bias, self.normalization, self.eps, self.zero_centered_gamma)
        x = normalize(x, *norm)
        done = self.compute(x, self.weight, self.bias)
        if not self.return_layernorm_output:
            return done
        return ((done[0], x), done[1]) if self.return_bias else (done, x)


class GroupedLinear(Shared):
    """A weight for each of a rank's experts: the tokens come in order of their experts."""

    def __init__(
        self, num_gemms: int, in_features: int, out_features: int, bias: bool = True,
        single_grouped_weight: bool = False, single_grouped_bias: bool = False, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__(**more)
        if single_grouped_weight or single_grouped_bias:
            refuse("single weight of all experts")
        rows, columns = self.share(out_features, in_features)
        self.num_gemms, self.in_features, self.out_features, self.use_bias = num_gemms, columns, rows, bias
        for number in range(num_gemms):
            setattr(self, f"weight{number}", self.weight_of(rows, columns))
            if bias:
                setattr(self, f"bias{number}", self.bias_of(rows))

    def forward(self, x: Any, m_splits: Any, is_first_microbatch: bool | None = None, **more: Any) -> Any:
        """Each expert's tokens through its own weight."""
        counts = m_splits.tolist() if isinstance(m_splits, torch.Tensor) else list(m_splits)
        biases = [getattr(self, f"bias{n}", None) for n in range(self.num_gemms)]
        parts = x.split(counts)
        done = [
            F.linear(part, getattr(self, f"weight{n}"), None if self.return_bias else biases[n])
            for n, part in enumerate(parts)
        ]
        return (torch.cat(done), biases) if self.return_bias else torch.cat(done)
