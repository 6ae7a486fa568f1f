"""How full the rows of a Megatron training were, and which added tokens it saw; see trained_tokens.py, whose name and
file it shares.

A callback of ms-swift: `--external_plugins {tools}/megatron_trained_tokens.py --callbacks trained_tokens`. Samples of
one micro batch stand one behind the other without padding; with packing each of its rows is several samples.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from swift.megatron.callbacks.base import MegatronCallback
from swift.megatron.callbacks.mapping import megatron_callbacks_map

NAME = "trained_tokens.json"


class MegatronTrainedTokens(MegatronCallback):  # type: ignore[misc]
    """See the module."""

    def on_train_begin(self) -> None:
        """Look into each micro batch as it comes, before a rank takes its part of it."""
        self.counts: Counter[str] = Counter()
        self.added: Counter[str] = Counter()
        prepare = self.trainer._prepare_batch

        def looked_at(data: Mapping[str, Any], vp_stage: int | None = None) -> Any:
            if not vp_stage and self.trainer.unwrapped_models[0].training:  # each virtual stage asks for the same
                self.look(data)
            return prepare(data, vp_stage)

        self.trainer._prepare_batch = looked_at

    def look(self, data: Mapping[str, Any]) -> None:
        """Count one micro batch."""
        tokens, lengths = data["input_ids"].numel(), data["seq_lens"]
        self.counts["rows"] += self.args.micro_batch_size
        self.counts["samples"] += len(lengths)
        self.counts["tokens"] += sum(lengths)
        self.counts["padding"] += tokens - sum(lengths)
        for text, number in self.trainer.template.tokenizer.get_added_vocab().items():
            if found := int((data["input_ids"] == number).sum()):
                self.added[text] += found

    def on_train_end(self) -> None:
        """Write it down."""
        if dist.get_rank() == 0:
            said = {**self.counts, "added": self.added}
            (Path(self.args.output_dir) / NAME).write_text(json.dumps(said) + "\n", encoding="utf-8")


megatron_callbacks_map["trained_tokens"] = MegatronTrainedTokens
