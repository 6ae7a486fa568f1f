"""RMSNorm and LayerNorm."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


def normalize(x: Any, weight: Any, bias: Any, kind: str, eps: float, zero_centered: bool) -> Any:
    """`x` normalized in its last dimension, computed in float32."""
    scale = weight.float() + 1 if zero_centered else weight.float()
    size = weight.shape
    if kind == "RMSNorm":
        return F.rms_norm(x.float(), size, scale, eps).to(x.dtype)
    return F.layer_norm(x.float(), size, scale, bias.float() if bias is not None else None, eps).to(x.dtype)


def parameter(size: Any, value: float, dtype: Any, device: Any, sequence_parallel: bool) -> torch.nn.Parameter:
    """A norm's weight: with sequence parallelism Megatron-Core adds up its gradients over the tensor group."""
    made = torch.nn.Parameter(torch.full(size, value, dtype=dtype, device=device))
    made.sequence_parallel = sequence_parallel  # type: ignore[attr-defined]
    return made


class RMSNorm(torch.nn.Module):
    """See the module."""

    kind = "RMSNorm"

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, sequence_parallel: bool = False,
        params_dtype: Any = None, zero_centered_gamma: bool = False, device: Any = None, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        size = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.zero_centered_gamma = eps, zero_centered_gamma
        start = 0.0 if zero_centered_gamma else 1.0
        self.weight = parameter(size, start, params_dtype, device, sequence_parallel)
        self.bias = parameter(size, 0.0, params_dtype, device, sequence_parallel) if self.kind == "LayerNorm" else None

    def forward(self, x: Any) -> Any:
        """Normalized."""
        return normalize(x, self.weight, self.bias, self.kind, self.eps, self.zero_centered_gamma)


class LayerNorm(RMSNorm):
    """See the module."""

    kind = "LayerNorm"
