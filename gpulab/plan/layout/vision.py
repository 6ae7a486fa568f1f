"""A vision tower before the language model: Qwen2.5-VL's and Qwen3-VL's.

Megatron takes transformers' own (mcore_bridge/model/mm_gpts): it is whole on every rank of the first pipeline stage, no
tensor parallelism divides it. ms-swift trains it, and the aligner that brings its rows to the language model's width,
only where `freeze_vit` and `freeze_aligner` are false.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAMILIES = ("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")


@dataclass(frozen=True)
class Vision:
    """A tower of `layers`, whose aligner joins `joined` rows into one of the language model's width `out`. `patch` is
    how many numbers a patch of the picture has, `places` how many positions are learned. With `deep` more aligners
    layers of the tower are seen in the language model. `gated` is Qwen2.5-VL's: MLPs of three matrices, norms and
    patches without bias."""

    layers: int
    hidden: int
    ffn: int
    out: int
    patch: int
    joined: int
    places: int = 0
    deep: int = 0
    gated: bool = False

    @property
    def layer(self) -> list[tuple[int, int]]:
        """(in, out) of one layer's matrices, each with a bias: queries, keys and values, the projection, the MLP."""
        up = (self.hidden, self.ffn)
        mlp = [up, up] if self.gated else [up]
        return [(self.hidden, 3 * self.hidden), (self.hidden, self.hidden), *mlp, (self.ffn, self.hidden)]

    @property
    def tower(self) -> int:
        """Parameters of all but the aligner."""
        norm = self.hidden if self.gated else 2 * self.hidden
        patches = (self.patch + (not self.gated) + self.places) * self.hidden
        return patches + self.layers * (_parameters(self.layer) + 2 * norm)

    @property
    def aligners(self) -> list[tuple[int, int]]:
        """(in, out) of all aligners' matrices, each with a bias."""
        width = self.joined * self.hidden
        return [(width, width), (width, self.out)] * (1 + self.deep)

    @property
    def aligner(self) -> int:
        """Parameters of the aligner, and of those for deep layers, whose norms are over the joined rows."""
        norms = self.hidden if self.gated else 2 * self.hidden * (1 + self.deep * self.joined)
        return _parameters(self.aligners) + norms

    def trained(self, tower: bool, aligner: bool) -> int:
        """Parameters of what of it is trained."""
        return tower * self.tower + aligner * self.aligner

    def adapters(self, tower: bool, aligner: bool) -> int:
        """Parameters of LoRA's matrices for each of its ranks."""
        matrices = tower * self.layers * self.layer + aligner * self.aligners
        return sum(wide + out for wide, out in matrices)

    def kept(self, tokens: float) -> float:
        """Bytes kept for the backward pass where the tower is trained, of as many tokens that are all of pictures:
        the inputs of all layers and one layer's own, for ms-swift then recomputes it (vit_gradient_checkpointing)."""
        one = sum(wide + out for wide, out in self.layer)
        return 2 * tokens * self.joined * (self.layers * self.hidden + one)


def _parameters(matrices: list[tuple[int, int]]) -> int:
    return sum(wide * out + out for wide, out in matrices)


def vision_of(config: Mapping[str, Any]) -> Vision | None:
    """What a config.json tells of it; None for a model that sees nothing."""
    family = config.get("model_type")
    if family not in FAMILIES:
        return None
    said = config["vision_config"]
    gated = family == "qwen2_5_vl"
    return Vision(
        layers=said["depth"],
        hidden=said["hidden_size"],
        ffn=said["intermediate_size"],
        out=said["out_hidden_size"],
        patch=said.get("in_channels", 3) * said.get("temporal_patch_size", 2) * said["patch_size"] ** 2,
        joined=said.get("spatial_merge_size", 2) ** 2,
        places=0 if gated else said["num_position_embeddings"],
        deep=0 if gated else len(said["deepstack_visual_indexes"]),
        gated=gated,
    )
