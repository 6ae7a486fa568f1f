"""BERT: an encoder, 2 layers, hidden 64, with pieces of words for tokens."""

from __future__ import annotations

from typing import Any

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer(texts: list[str]) -> Any:
    """WordPiece over these texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizerFast

    learned = Tokenizer(models.WordPiece(unk_token=SPECIAL[1]))
    learned.normalizer = normalizers.BertNormalizer(lowercase=True)
    learned.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    learned.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=1024, special_tokens=SPECIAL, show_progress=False)
    )
    return BertTokenizerFast(vocab=learned.get_vocab(), model_max_length=512)


def model(vocab_size: int) -> Any:
    """BertForMaskedLM."""
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return BertForMaskedLM(BertConfig(vocab_size=vocab_size, pad_token_id=0, max_position_embeddings=512, **sizes))
