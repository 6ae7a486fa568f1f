"""Qwen2.5: text, as Qwen3 without its norms of queries and keys, and with a bias on them."""

from __future__ import annotations

from typing import Any

from gpulab.inside.twins.families.qwen3 import SIZES, tokenizer

__all__ = ["model", "tokenizer"]


def model(vocab_size: int) -> Any:
    """Qwen2ForCausalLM."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes = {key: value for key, value in SIZES.items() if key != "head_dim"}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=vocab_size, **sizes))
