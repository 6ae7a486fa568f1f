"""Random states and recomputation, as names that Megatron-Core wants: it uses its own where there is no fp8."""

from __future__ import annotations

from typing import Any

from ..refuse import refuse, refused

CudaRNGStatesTracker = refused("tracker of random states of TransformerEngine's")


def checkpoint(*args: Any, **kwargs: Any) -> Any:
    """Megatron-Core recomputes by itself."""
    refuse("recomputation of TransformerEngine's")


def activation_recompute_forward(*args: Any, **kwargs: Any) -> Any:
    """Only used with fp8."""
    refuse("fp8")
