"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values, and queries where `query` is not 0, are
made from a narrow vector of each token.

Tensor parallelism divides what makes heads of that vector; the matrices that make the vector itself, and its norms, are
on every rank (megatron/core/transformer/multi_latent_attention.py: `duplicated`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Latent:
    """The width of the vectors for queries and for keys and values; of each head's parts without and with rotary
    positions, and of its value. In the words of config.json: q_lora_rank, kv_lora_rank, qk_nope_head_dim,
    qk_rope_head_dim, v_head_dim."""

    query: int
    keys: int
    plain: int
    rotary: int
    value: int

    def divided(self, hidden: int, heads: int) -> list[tuple[int, int]]:
        """(in, out) of the matrices that tensor parallelism divides."""
        return [
            (self.query or hidden, heads * (self.plain + self.rotary)),
            (self.keys, heads * (self.plain + self.value)),
            (heads * self.value, hidden),
        ]

    def repeated(self, hidden: int) -> list[tuple[int, int]]:
        """(in, out) of the matrices that are on every rank."""
        return [(hidden, self.keys + self.rotary), *([(hidden, self.query)] if self.query else [])]

    @property
    def norms(self) -> int:
        """Parameters of the narrow vectors' norms."""
        return self.query + self.keys

    def kept(self, heads: int) -> int:
        """Numbers of one token that are kept for the backward pass: queries, keys, values and what comes of them."""
        return heads * (2 * (self.plain + self.rotary) + 2 * self.value)


def latent_of(config: Mapping[str, Any]) -> Latent | None:
    """What a config.json tells of it; None for a model with usual attention."""
    if "kv_lora_rank" not in config:
        return None
    return Latent(
        query=config.get("q_lora_rank") or 0,
        keys=config["kv_lora_rank"],
        plain=config["qk_nope_head_dim"],
        rotary=config["qk_rope_head_dim"],
        value=config["v_head_dim"],
    )
