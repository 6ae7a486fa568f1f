"""Whether a Megatron model was really shown its pictures; see vision_tokens.py, whose name and file it shares.

A callback of ms-swift: `--external_plugins {tools}/megatron_vision_tokens.py --callbacks vision_tokens`. The tower is
on the first pipeline stage, whole on each tensor parallel rank: rank 0 counts what its own batches and tower had.
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

NAME = "vision_tokens.json"


class MegatronVisionTokens(MegatronCallback):  # type: ignore[misc]
    """See the module."""

    def on_train_begin(self) -> None:
        """Look into each micro batch as it comes, and at what the tower puts out."""
        self.seen: Counter[str] = Counter()
        first, prepare = self.trainer.unwrapped_models[0], self.trainer._prepare_batch
        config = self.args.hf_config if hasattr(self.args, "hf_config") else first.config.hf_config
        self.places = {config.image_token_id, config.video_token_id}
        self.joined = config.vision_config.spatial_merge_size**2

        def looked_at(data: Mapping[str, Any], vp_stage: int | None = None) -> Any:
            if not vp_stage and first.training:  # each virtual stage asks for the same
                self.look(data)
            return prepare(data, vp_stage)

        def put_out(module: Any, positional: Any, output: Any) -> None:
            if first.training:
                self.seen["embedded"] += len(getattr(output, "pooler_output", output))

        self.trainer._prepare_batch = looked_at
        for name, module in first.named_modules():
            if name.split(".")[-2:] == ["visual", "visual"]:
                module.register_forward_hook(put_out)

    def look(self, data: Mapping[str, Any]) -> None:
        """Count one micro batch."""
        self.seen["rows"] += len(data["seq_lens"])
        self.seen["places"] += sum(int((data["input_ids"] == place).sum()) for place in self.places)
        for grid in ("image_grid_thw", "video_grid_thw"):
            if data.get(grid) is not None:
                self.seen["pictures"] += len(data[grid])
                self.seen["grid"] += int(data[grid].prod(-1).sum()) // self.joined

    def on_train_end(self) -> None:
        """Write it down."""
        if dist.get_rank() == 0:
            (Path(self.args.output_dir) / NAME).write_text(json.dumps(self.seen) + "\n", encoding="utf-8")


megatron_callbacks_map["vision_tokens"] = MegatronVisionTokens
