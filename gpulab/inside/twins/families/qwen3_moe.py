"""Qwen3 with experts: 4 in each layer, of which a token takes 2.

Its vocabulary is even: Megatron pads an odd one where it is shared out (tensor), which changes every loss a little, and
a router that sees a little change sends tokens to other experts.
"""

from __future__ import annotations

from typing import Any

from gpulab.inside.twins.families.qwen3 import SIZES, tokenizer

__all__ = ["model", "tokenizer"]


def model(vocab_size: int) -> Any:
    """Qwen3MoeForCausalLM."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    experts = {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "norm_topk_prob": True,
        "decoder_sparse_step": 1, "mlp_only_layers": [],
    }  # fmt: skip
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(vocab_size=vocab_size + vocab_size % 2, **SIZES, **experts))
