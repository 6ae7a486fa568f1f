"""A patch of mcore-bridge 1.6.5 for transformers 5: `--external_plugins {tools}/rope_of_transformers.py`.

mcore-bridge puts a function of its own into transformers' table of rotary embeddings, where it goes before a model's
own. It asks a configuration for `rope_theta`, which transformers 5 keeps in `rope_parameters`: once a model of Megatron
has been made, none of transformers' can be in the same process, and `megatron export` ends with an AttributeError when
it reads back what it wrote. On GPUs as on a CPU.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mcore_bridge.model import rope

ITS_OWN = rope._compute_default_rope_parameters
WANTED = ("head_dim", "hidden_size", "num_attention_heads", "partial_rotary_factor")


def default(config: Any = None, device: Any = None, seq_len: int | None = None, **more: Any) -> tuple[Any, float]:
    """mcore-bridge's function, given what it asks for wherever the configuration has it."""
    if not hasattr(config, "rope_theta"):
        said = {name: getattr(config, name) for name in WANTED if getattr(config, name, None) is not None}
        config = SimpleNamespace(**{**said, **config.rope_parameters})
    made: tuple[Any, float] = ITS_OWN(config, device, seq_len)
    return made


rope.EXTENDED_ROPE_INIT_FUNCTIONS["default"] = default
