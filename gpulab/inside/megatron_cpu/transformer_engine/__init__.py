"""A stand-in for TransformerEngine: its layers in plain PyTorch, for rehearsals of Megatron on a CPU.

Only what Megatron-Core and mcore-bridge build a model of is here; every collective is Megatron-Core's own.
"""

from . import common, pytorch

__version__ = "2.6.0+plain.pytorch.on.a.cpu"  # which of TransformerEngine's interfaces it has, and what it is
__all__ = ["common", "pytorch"]
