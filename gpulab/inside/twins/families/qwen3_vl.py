"""Qwen3-VL: as Qwen2.5-VL, with the vision tower's layers seen in the language model, too."""

from __future__ import annotations

from typing import Any

from gpulab.inside.twins import pictures
from gpulab.inside.twins.tokenizer import sparse_bpe as tokenizer

__all__ = ["model", "processor", "teach", "tokenizer"]

PATCH = 16


def model(vocab_size: int) -> Any:
    """Qwen3VLForConditionalGeneration."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    text = {**pictures.TEXT, "rope_parameters": rope}
    vision = {
        **pictures.VISION, "out_hidden_size": text["hidden_size"], "patch_size": PATCH,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(text_config=text, vision_config=vision, **pictures.WHOLE_MODEL)
    )


def processor(tok: Any) -> Any:
    """Qwen3VLProcessor."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    sizes = pictures.sizes(PATCH)
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes), tokenizer=tok,
        video_processor=Qwen3VLVideoProcessor(**sizes), chat_template=tok.chat_template,
    )  # fmt: skip


def teach(made: Any, processor: Any, rows: list[dict[str, Any]]) -> str:
    """See gpulab/inside/twins/pictures.py."""
    return pictures.teach(made, processor, rows, "")
