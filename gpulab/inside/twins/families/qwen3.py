"""Qwen3: text, 2 layers, hidden 64, head_dim 32 (vLLM's CPU kernels fail with 16)."""

from __future__ import annotations

from typing import Any

from gpulab.inside.twins.tokenizer import QWEN, bpe

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 2048, "tie_word_embeddings": True,
    "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


def tokenizer(texts: list[str]) -> Any:
    """A byte-level BPE with Qwen's special tokens first."""
    return bpe(texts, QWEN)


def model(vocab_size: int) -> Any:
    """Qwen3ForCausalLM."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(vocab_size=vocab_size, **SIZES))
