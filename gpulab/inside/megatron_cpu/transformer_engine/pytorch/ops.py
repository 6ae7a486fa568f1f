"""transformer_engine.pytorch.ops: fused operations, none of which a rehearsal has."""

from __future__ import annotations

from ..refuse import refused

Sequential = refused("fused operations (use_transformer_engine_op_fuser)")
SwiGLU = GEGLU = ReGLU = GELU = ReLU = refused("activations of TransformerEngine's (use_te_activation_func)")
FusibleOperation = Sequential
