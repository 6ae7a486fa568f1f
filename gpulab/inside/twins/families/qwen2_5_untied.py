"""Qwen2.5 with an output layer of its own, as its models of 7B and more have; the smaller ones share the embedding."""

from __future__ import annotations

from typing import Any

from gpulab.inside.twins.families.qwen2_5 import made, teach, tokenizer

__all__ = ["model", "teach", "tokenizer"]


def model(vocab_size: int) -> Any:
    """Qwen2ForCausalLM."""
    return made(vocab_size, tie_word_embeddings=False)
