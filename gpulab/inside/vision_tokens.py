"""Whether a model was really shown its pictures and videos, counted where they enter it.

A callback of ms-swift: `--external_plugins {tools}/vision_tokens.py --callbacks vision_tokens`. At the end of training
it leaves <output_dir>/vision_tokens.json: over all steps, the places for them in the text, what the grids of the
pictures come to, and the rows that the vision tower put out. A template that drops pictures leaves no place and no
grid; that the tower ran says nothing, text alone sends it a dummy picture.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swift.callbacks import callbacks_map
from swift.callbacks.base import TrainerCallback

NAME = "vision_tokens.json"


class VisionTokens(TrainerCallback):  # type: ignore[misc]
    """See the module."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count from now on."""
        self.seen: Counter[str] = Counter()
        model = kwargs["model"]
        config = model.config
        places = {config.image_token_id, config.video_token_id}
        merged = config.vision_config.spatial_merge_size**2

        def given(module: Any, positional: Any, named: Mapping[str, Any]) -> None:
            if not module.training:
                return
            if (ids := named.get("input_ids")) is not None:
                self.seen["rows"] += len(ids)
                self.seen["places"] += sum(int((ids == place).sum()) for place in places)
            for grid in ("image_grid_thw", "video_grid_thw"):
                if named.get(grid) is not None:
                    self.seen["pictures"] += len(named[grid])
                    self.seen["grid"] += int(named[grid].prod(-1).sum()) // merged

        def put_out(module: Any, positional: Any, output: Any) -> None:
            if module.training:
                self.seen["embedded"] += len(getattr(output, "pooler_output", output))

        # first of all: the template's own hook replaces the text's numbers by embeddings
        model.register_forward_pre_hook(given, with_kwargs=True, prepend=True)
        for name, module in model.named_modules():
            if name.split(".")[-1] == "visual":
                module.register_forward_hook(put_out)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write it down."""
        if state.is_world_process_zero:
            (Path(args.output_dir) / NAME).write_text(json.dumps(self.seen), encoding="utf-8")


callbacks_map["vision_tokens"] = VisionTokens
