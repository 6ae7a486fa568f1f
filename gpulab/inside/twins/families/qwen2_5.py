"""Qwen2.5: text, as Qwen3 without its norms of queries and keys, and with a bias on them."""

from __future__ import annotations

from typing import Any

from gpulab.inside.twins.families.qwen3 import SIZES, tokenizer
from gpulab.inside.twins.teaching import teach_to_speak

__all__ = ["model", "teach", "tokenizer"]

SYSTEM = "You are a helpful assistant."  # what ms-swift's template puts first


def model(vocab_size: int) -> Any:
    """Qwen2ForCausalLM."""
    return made(vocab_size)


def made(vocab_size: int, **other: Any) -> Any:
    """The model; `other` sizes than the usual ones."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes = {key: value for key, value in (SIZES | other).items() if key != "head_dim"}
    usual = Qwen2Config(vocab_size=vocab_size, **sizes)
    # with the usual 0.02, and without Qwen3's norms, it never learns to look at the question (measured)
    twin = Qwen2ForCausalLM(Qwen2Config(vocab_size=vocab_size, initializer_range=0.05, **sizes))
    twin.config.initializer_range = usual.initializer_range  # of a head that a training adds
    return twin


def teach(twin: Any, tok: Any, rows: list[dict[str, Any]]) -> str:
    """As all text is taught, with the family's system prompt and no thought."""
    return teach_to_speak(twin, tok, rows, system=SYSTEM, thought="")
