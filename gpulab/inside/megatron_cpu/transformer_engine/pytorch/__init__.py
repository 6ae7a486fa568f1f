"""transformer_engine.pytorch: the layers that Megatron-Core derives its own from."""

from ..refuse import refused
from . import attention, distributed, fp8, module, ops
from .attention import DotProductAttention
from .fp8 import fp8_autocast, fp8_model_init
from .linear import GroupedLinear, LayerNormLinear, Linear
from .norms import LayerNorm, RMSNorm

LayerNormMLP = refused("LayerNormMLP")  # peft asks of each layer of a model whether it is one

__all__ = [
    "DotProductAttention", "GroupedLinear", "LayerNorm", "LayerNormLinear", "LayerNormMLP", "Linear", "RMSNorm",
    "attention", "distributed", "fp8", "fp8_autocast", "fp8_model_init", "module", "ops",
]  # fmt: skip
