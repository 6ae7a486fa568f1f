"""Qwen3 with ten layers: ms-swift's GPTQ looks for the decoder's blocks in a list of at least as many."""

from __future__ import annotations

from typing import Any

from gpulab.inside.twins.families.qwen3 import SIZES, tokenizer

__all__ = ["model", "tokenizer"]


def model(vocab_size: int) -> Any:
    """Qwen3ForCausalLM."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(vocab_size=vocab_size, **{**SIZES, "num_hidden_layers": 10}))
