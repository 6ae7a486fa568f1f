"""What each rank of a training saw, written by the rank itself: the evidence that work was really shared.

A callback of ms-swift, asked for in a lab's line: `--external_plugins {tools}/rank_report.py --callbacks rank_report`.
At the end of training every rank leaves <output_dir>/ranks/<rank>.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from swift.callbacks import callbacks_map
from swift.callbacks.base import TrainerCallback

# A node's rank, as ms-swift's launcher, torch's and DeepSpeed's name it.
NODE_RANKS = ("NODE_RANK", "GROUP_RANK", "CROSS_RANK")


class RankReport(TrainerCallback):  # type: ignore[misc]
    """See the module."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count tokens from now on: what the model is given, and what this rank's first layer takes of it."""
        self.given = self.taken = 0
        model = kwargs["model"]

        def give(module: Any, positional: Any, named: Mapping[str, Any]) -> None:
            self.given += named["input_ids"].numel() if named.get("input_ids") is not None else 0

        def take(module: Any, positional: tuple[Any, ...]) -> None:
            self.taken += positional[0].numel()

        model.register_forward_pre_hook(give, with_kwargs=True)
        model.get_input_embeddings().register_forward_pre_hook(take)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write down this rank's view."""
        model, together = kwargs["model"], dist.is_available() and dist.is_initialized()
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        whole = sum(whole_size(p) for _, p in trained)
        held = sum(held_size(p) for _, p in trained)
        rank = dist.get_rank() if together else 0
        said = {
            "rank": rank,
            "world_size": dist.get_world_size() if together else 1,
            "backend": dist.get_backend() if together else None,
            "node_rank": next((int(os.environ[name]) for name in NODE_RANKS if name in os.environ), 0),
            "host": socket.gethostname(),
            "device": str(next(model.parameters()).device),
            "devices": sorted({str(p.device) for p in model.parameters()}),
            "wrapper": type(self.trainer.model_wrapped).__name__,
            "optimizer": type(getattr(self.trainer.optimizer, "optimizer", self.trainer.optimizer)).__name__,
            "parameters_held": round(held / whole, 4),  # the shares of a whole that this rank holds or takes
            "states_held": round(sum(map(held_size, moments(self.trainer.optimizer))) / whole, 4),
            "tokens_taken": round(self.taken / self.given, 4) if self.given else None,
            "steps": state.global_step,
            "weights": checksum(trained) if held == whole else None,
        }
        path = Path(args.output_dir) / "ranks" / f"{rank}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(said) + "\n", encoding="utf-8")


def whole_size(value: Any) -> int:
    """How many elements a tensor has over all ranks; ZeRO-3 leaves an empty one behind and keeps the size aside."""
    return int(value.ds_numel) if hasattr(value, "ds_numel") else int(value.numel())


def held_size(value: Any) -> int:
    """How many of them this rank holds: its part of a DTensor (FSDP2), or of a parameter of ZeRO-3."""
    if hasattr(value, "ds_tensor"):
        return int(value.ds_tensor.numel())
    return int((value.to_local() if hasattr(value, "to_local") else value).numel())


def moments(optimizer: Any) -> Iterable[Any]:
    """Adam's first moments, one for each trained element that this rank updates, below whatever wraps the optimizer."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return [state["exp_avg"] for state in optimizer.state.values() if "exp_avg" in state]


def checksum(parameters: list[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 over names and values, in order."""
    digest = hashlib.sha256()
    for name, value in parameters:
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


callbacks_map["rank_report"] = RankReport
