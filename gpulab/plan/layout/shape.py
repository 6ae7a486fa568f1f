"""The shape of a language model: what decides how it can be divided and what it weighs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import shown
from gpulab.common.yamlfile import load
from gpulab.plan.layout.latent import Latent, latent_of
from gpulab.plan.layout.vision import Vision, vision_of

SHAPES = Path(__file__).with_name("shapes.yml")
# What a family's code implies and its config.json does not say: biases of q, k and v; norms of q and k.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": False, "qk_norm": False},
    "qwen2": {"attention_bias": True, "qk_norm": False},
    "qwen3": {"attention_bias": False, "qk_norm": True},
    "qwen3_moe": {"attention_bias": False, "qk_norm": True},
    "deepseek_v2": {"attention_bias": False, "qk_norm": False},
    "deepseek_v3": {"attention_bias": False, "qk_norm": False},
    "qwen2_5_vl": {"attention_bias": True, "qk_norm": False},
    "qwen3_vl": {"attention_bias": False, "qk_norm": True},
    "qwen3_vl_moe": {"attention_bias": False, "qk_norm": True},
}
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
NEEDED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")


@dataclass(frozen=True)
class Shape:
    """A decoder with grouped heads or latent attention, and a gated MLP or a mixture of such MLPs as experts
    (`experts` > 0). Of a mixture the first `first_dense` layers have an MLP of width `ffn`, the others experts, and
    beside them an MLP of width `shared_ffn` for every token. `vision` is what stands before it where it sees."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    experts: int = 0
    experts_per_token: int = 0
    moe_ffn: int = 0
    shared_ffn: int = 0
    first_dense: int = 0
    latent: Latent | None = None
    vision: Vision | None = None

    @property
    def dense_layers(self) -> int:
        """How many layers, the first ones, have no experts."""
        return self.first_dense if self.experts else self.layers

    @property
    def q(self) -> int:
        """The width of the queries, and of attention's output before its projection."""
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        """The width of the keys, and of the values."""
        return self.kv_heads * self.head_dim

    @property
    def attention(self) -> int:
        """Parameters of one layer's attention that tensor parallelism divides."""
        if self.latent:
            return sum(wide * out for wide, out in self.latent.divided(self.hidden, self.heads))
        return self.hidden * (2 * self.q + 2 * self.kv) + self.qkv_bias * (self.q + 2 * self.kv)

    @property
    def mlp(self) -> int:
        """Parameters of the MLP of a layer without experts."""
        return 3 * self.hidden * self.ffn

    @property
    def shared(self) -> int:
        """Parameters of the MLP that a layer has beside its experts."""
        return 3 * self.hidden * self.shared_ffn

    @property
    def experts_of_layer(self) -> int:
        """Parameters of one layer's experts, which expert parallelism divides."""
        return self.experts * 3 * self.hidden * self.moe_ffn

    @property
    def replicated(self) -> int:
        """Parameters of any layer that every rank of a tensor parallel group holds: norms and `repeated`."""
        narrow = sum(wide * out for wide, out in self.latent.repeated(self.hidden)) if self.latent else 0
        norms = self.latent.norms if self.latent else self.qk_norm * 2 * self.head_dim
        return 2 * self.hidden + norms + narrow

    @property
    def router(self) -> int:
        """Parameters of one layer's router, which every rank holds, too."""
        return self.experts * self.hidden

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, and as many of the output layer where it is not the same."""
        return self.vocab * self.hidden

    @property
    def predictor(self) -> int:
        """Parameters, that tensor parallelism divides, of the matrix at the head of a layer of multi-token prediction:
        it joins a token's state and the next one's embedding."""
        return 2 * self.hidden * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters, a tied output layer counted once."""
        return self.spoken + (self.vision.trained(tower=True, aligner=True) if self.vision else 0)

    @property
    def spoken(self) -> int:
        """Parameters of the language model."""
        sparse = self.layers - self.dense_layers
        layers = self.layers * (self.attention + self.replicated) + self.dense_layers * self.mlp
        layers += sparse * (self.shared + self.experts_of_layer + self.router)
        return layers + self.embedding * (1 if self.tied else 2) + self.hidden


def shape_of(config: Mapping[str, Any], where: str) -> Shape:
    """The shape that a config.json tells. Raises UsageError for a family whose parameters are not known here."""
    family, vision = str(config.get("model_type")), vision_of(config)
    if vision:  # a hub's older files have the language model's keys beside, newer ones below `text_config`
        config = {**config, **config.get("text_config", {})}
    if family not in FAMILIES:
        raise UsageError(
            f"{where}: the shape of model type {family!r} is not known",
            f"known: {', '.join(FAMILIES)}; write the layout's numbers instead of {{layout...}}",
        )
    if missing := [key for key in NEEDED if key not in config]:
        raise UsageError(f"{where}: no {missing[0]!r}", "take the model's own config.json")
    each = [config.get(key, 1) for key in ("decoder_sparse_step", "moe_layer_freq")]
    if config.get("mlp_only_layers") or each != [1, 1]:
        raise UsageError(
            f"{where}: layers with and without experts in one model", "write the layout's numbers yourself"
        )
    config = {**FAMILIES[family], **config}
    heads, moe_ffn = config["num_attention_heads"], config.get("moe_intermediate_size") or 0
    return Shape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        ffn=config["intermediate_size"],
        vocab=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=bool(config["attention_bias"]),
        qk_norm=config["qk_norm"],
        # transformers 5 writes the second, DeepSeek the third
        experts=next((n for name in EXPERTS if (n := config.get(name))), 0),
        experts_per_token=config.get("num_experts_per_tok") or 0,
        moe_ffn=moe_ffn,
        shared_ffn=moe_ffn * (config.get("n_shared_experts") or 0),
        first_dense=config.get("first_k_dense_replace") or 0,
        latent=latent_of(config),
        vision=vision,
    )


@cache
def known_shapes() -> dict[str, dict[str, Any]]:
    """shapes.yml: the config keys of models that are not on this machine, by name."""
    data: dict[str, dict[str, Any]] = load(SHAPES)
    return data


def find_shape(model: str) -> Shape:
    """The shape of a folder with a config.json, else of a model that shapes.yml knows. Raises UsageError."""
    config = Path(model) / "config.json"
    if config.is_file():
        try:
            return shape_of(json.loads(config.read_text(encoding="utf-8")), shown(config))
        except ValueError as error:
            raise UsageError(f"{shown(config)}: not JSON ({error})", "fetch the model again") from None
    known = known_shapes()
    if model not in known:
        near = nearest(model, list(known))
        raise UsageError(f"the shape of {model!r} is not known", f"{near}; or add its config.json's to {shown(SHAPES)}")
    return shape_of(known[model], f"{shown(SHAPES)}: {model}")
