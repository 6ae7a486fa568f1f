"""Qwen2.5-VL: a vision tower of 2 layers before a language model of 2; a picture of 64 x 64 is 4 tokens."""

from __future__ import annotations

from typing import Any

from gpulab.inside.twins import pictures
from gpulab.inside.twins.tokenizer import sparse_bpe as tokenizer

__all__ = ["model", "processor", "teach", "tokenizer"]

PATCH = 14
SYSTEM = "You are a helpful assistant."  # what ms-swift's template puts first


def model(vocab_size: int) -> Any:
    """Qwen2_5_VLForConditionalGeneration."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {**pictures.TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}}
    vision = {
        **pictures.VISION, "out_hidden_size": text["hidden_size"], "patch_size": PATCH, "fullatt_block_indexes": [1],
        "window_size": 4 * PATCH,
    }  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, **pictures.WHOLE_MODEL)
    )


def processor(tok: Any) -> Any:
    """Qwen2_5_VLProcessor."""
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    sizes = pictures.sizes(PATCH)
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes), tokenizer=tok,
        video_processor=Qwen2VLVideoProcessor(**sizes), chat_template=tok.chat_template,
    )  # fmt: skip


def teach(made: Any, processor: Any, rows: list[dict[str, Any]]) -> str:
    """See gpulab/inside/twins/pictures.py."""
    return pictures.teach(made, processor, rows, SYSTEM)
