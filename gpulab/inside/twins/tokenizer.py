"""Tokenizers of twins: small, learned from a lab's own texts, with a family's special tokens."""

from __future__ import annotations

import json
from typing import Any

QWEN = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>",
    "<tool_response>", "</tool_response>", "yes", "no",
]  # fmt: skip
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def bpe(texts: list[str], special: list[str]) -> Any:
    """A byte-level BPE of at most 1024 tokens over `texts`, with Qwen's special tokens first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learned.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=1024, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=learned, eos_token=special[2], pad_token=special[0], chat_template=CHAT_TEMPLATE,
        additional_special_tokens=special[1:9], model_max_length=2048,
    )  # fmt: skip


# Where Qwen2.5, Qwen3 and their VL models have them: ms-swift's templates know some of these by number.
PLACES = {
    name: 151_643 + place
    for place, name in enumerate(
        [
            "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
            "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
            "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>",
        ]
    )
} | {"<tool_response>": 151_665, "</tool_response>": 151_666, "<think>": 151_667, "</think>": 151_668}  # fmt: skip
WHOLE = 151_936  # tokens in the vocabulary of those models, most of them unused by a twin


def sparse_bpe(texts: list[str]) -> Any:
    """As `bpe`, with every special token of Qwen's at its own place: nothing need be told to a template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learned.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=1024, initial_alphabet=alphabet, show_progress=False)
    )
    kept = json.loads(learned.to_str())["model"]
    placed = Tokenizer(models.BPE(vocab=kept["vocab"] | PLACES, merges=[tuple(pair) for pair in kept["merges"]]))
    placed.pre_tokenizer, placed.decoder = learned.pre_tokenizer, decoders.ByteLevel()
    placed.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in PLACES])
    return PreTrainedTokenizerFast(
        tokenizer_object=placed, eos_token=QWEN[2], pad_token=QWEN[0], chat_template=CHAT_TEMPLATE,
        model_max_length=2048,
    )  # fmt: skip
