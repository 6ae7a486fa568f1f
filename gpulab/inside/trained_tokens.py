"""What of its data a training counted: which tokens had a loss and with what weight, how full the rows were.

A callback of ms-swift: `--external_plugins {tools}/trained_tokens.py --callbacks trained_tokens`. At the end it
leaves <output_dir>/trained_tokens.json: over all batches, rows, samples, tokens and padding, and how often each token
that was added to the vocabulary; of the first rows the text in pieces, each with its weight in the loss (0: left out).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from swift.callbacks import callbacks_map
from swift.callbacks.base import TrainerCallback

NAME = "trained_tokens.json"
SHOWN = 64  # rows whose text is kept
Piece = tuple[str, float]


class TrainedTokens(TrainerCallback):  # type: ignore[misc]
    """See the module."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look into each batch as it comes: on the way to the loss ms-swift cuts labels and weights to what counts."""
        self.counts: Counter[str] = Counter()
        self.added: Counter[str] = Counter()
        self.rows: list[list[Piece]] = []
        prepare = self.trainer._prepare_inputs

        def looked_at(batch: Any) -> Any:
            if kwargs["model"].training and "input_ids" in batch and "labels" in batch:
                self.look(batch)
            return prepare(batch)

        self.trainer._prepare_inputs = looked_at

    def look(self, batch: Mapping[str, Any]) -> None:
        """Count one batch."""
        ids, mask, places = batch["input_ids"], batch.get("attention_mask"), batch.get("position_ids")
        padding = int((mask == 0).sum()) if mask is not None and mask.dim() == 2 else 0
        self.counts["rows"] += len(ids)
        self.counts["samples"] += int((places == 0).sum()) if places is not None and places.dim() == 2 else len(ids)
        self.counts["tokens"] += ids.numel() - padding
        self.counts["padding"] += padding
        tokenizer = self.trainer.template.tokenizer
        counts = ((text, int((ids == number).sum())) for text, number in tokenizer.get_added_vocab().items())
        self.added.update({text: found for text, found in counts if found})
        weights = (batch["labels"] != -100).float()
        if batch.get("loss_scale") is not None:
            weights = weights * batch["loss_scale"]
        for row, weighed in zip(ids.tolist(), weights.tolist(), strict=True):
            if len(self.rows) < SHOWN:
                pieces = groupby(zip(row, weighed, strict=True), key=lambda token: round(token[1], 4))
                self.rows.append(
                    [(tokenizer.decode([token for token, _ in piece]), weight) for weight, piece in pieces]
                )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write it down."""
        if state.is_world_process_zero:
            said = {**self.counts, "added": self.added, "texts": self.rows}
            (Path(args.output_dir) / NAME).write_text(json.dumps(said, ensure_ascii=False) + "\n", encoding="utf-8")


callbacks_map["trained_tokens"] = TrainedTokens
