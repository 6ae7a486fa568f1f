"""What all of TransformerEngine's layers are, for those who ask by its name."""

from __future__ import annotations

from typing import Any

import torch

from ...refuse import refuse


class TransformerEngineBaseModule(torch.nn.Module):
    """See the module."""

    save_original_input = False
    primary_weights_in_fp8 = False

    def init_fp8_metadata(self, num_gemms: int = 1) -> None:
        """There is none."""

    def backward_dw(self) -> None:
        """Weight gradients are never delayed."""


def get_dummy_wgrad(*args: Any, **kwargs: Any) -> Any:
    """Only used with fused weight gradients."""
    refuse("fused weight gradients (gradient_accumulation_fusion)")


def initialize_ub(*args: Any, **kwargs: Any) -> Any:
    """Only used with tp_comm_overlap."""
    refuse("overlap of tensor parallel communication (tp_comm_overlap)")
