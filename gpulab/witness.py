"""What each rank of a training saw, written by the rank itself: the evidence that work was really shared.

A callback of ms-swift, asked for in a lab's own line: `--external_plugins {tools}/witness.py --callbacks witness`.
At the end of training every rank leaves <output_dir>/ranks/<rank>.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from swift.callbacks import callbacks_map
from swift.callbacks.base import TrainerCallback


class Witness(TrainerCallback):  # type: ignore[misc]
    """See the module."""

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write down this rank's view."""
        model, together = kwargs["model"], dist.is_available() and dist.is_initialized()
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        rank = dist.get_rank() if together else 0
        sharded = sum(type(p).__name__ == "DTensor" or hasattr(p, "ds_id") for _, p in trained)
        said = {
            "rank": rank,
            "world_size": dist.get_world_size() if together else 1,
            "backend": dist.get_backend() if together else None,
            "node_rank": int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", 0))),
            "host": socket.gethostname(),
            "device": str(next(model.parameters()).device),
            "devices": sorted({str(p.device) for p in model.parameters()}),
            "wrapper": type(self.trainer.model_wrapped).__name__,
            "optimizer": type(getattr(self.trainer.optimizer, "optimizer", self.trainer.optimizer)).__name__,
            "sharded_parameters": sharded,
            "trained_parameters": len(trained),
            "steps": state.global_step,
            "weights": None if sharded else checksum(trained),
        }
        path = Path(args.output_dir) / "ranks" / f"{rank}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(said) + "\n", encoding="utf-8")


def checksum(parameters: list[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 over names and values, in order."""
    digest = hashlib.sha256()
    for name, value in parameters:
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


callbacks_map["witness"] = Witness
