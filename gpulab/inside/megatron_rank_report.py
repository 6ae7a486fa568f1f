"""What each rank of a Megatron training held, written by itself; see rank_report.py, whose names it shares.

A callback of ms-swift: `--external_plugins {tools}/megatron_rank_report.py --callbacks rank_report`. `coordinates` says
where the rank stands in each dimension that the model or its data is shared out along, and how many stand there in all.
Experts lie in a grid of their own over the same ranks, so what is said of the weights is said of them apart. `layers`
has a list for each virtual stage; `reference` is how many numbers a frozen model beside the trained one has here.
`optimizer` is the class of the one that updates most of them: Muon leaves vectors and the vocabulary to another.
`data_parallel` is what is put around the model; Megatron-FSDP's gives the whole weights back at the end.
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
from megatron.core import parallel_state
from swift.megatron.callbacks.base import MegatronCallback
from swift.megatron.callbacks.mapping import megatron_callbacks_map


class MegatronRankReport(MegatronCallback):  # type: ignore[misc]
    """See the module."""

    def on_train_end(self) -> None:
        """Write down this rank's view."""
        models = self.trainer.unwrapped_models
        said = view([named for model in models for named in model.named_parameters()])
        path = Path(self.args.output_dir) / "ranks" / f"{said['rank']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        said |= {"moments": moments(self.trainer.optimizer), "optimizer": optimizer(self.trainer.optimizer)}
        frozen = getattr(self.trainer, "ref_models", [])
        said |= {"steps": self.state.iteration, "data_parallel": type(self.trainer.wrapped_models[0]).__name__}
        said |= {"layers": [layers(model) for model in models]}
        said |= {"reference": sum(numbers(list(model.named_parameters())) for model in frozen)}
        path.write_text(json.dumps(said) + "\n", encoding="utf-8")


def view(parameters: list[tuple[str, torch.Tensor]]) -> dict[str, Any]:
    """What this rank holds of the model, and where it stands."""
    experts = [named for named in parameters if ".experts." in named[0]]
    rest = [named for named in parameters if ".experts." not in named[0]]
    held = [numbers(experts), numbers(rest)]
    whole = [
        added_up(held[0], parallel_state.get_expert_tensor_model_pipeline_parallel_group(), parameters[0][1].device),
        added_up(held[1], parallel_state.get_model_parallel_group(), parameters[0][1].device),
    ]
    return {
        "rank": dist.get_rank(),
        "world_size": dist.get_world_size(),
        "backend": dist.get_backend(),
        "node_rank": int(os.environ.get("GROUP_RANK", 0)),
        "host": socket.gethostname(),
        "devices": sorted({str(value.device) for _, value in parameters}),
        "coordinates": coordinates(),
        "parameters": sum(held),
        "parameters_held": round(sum(held) / sum(whole), 4),
        "experts_held": round(held[0] / whole[0], 4) if whole[0] else None,
        "parameters_trained": round(numbers([p for p in parameters if p[1].requires_grad]) / sum(held), 4),
        "weights": digest(rest),
        "experts": digest(experts) if experts else None,
    }


def layers(model: Any) -> list[int]:
    """Which of the whole model's layers, from 1 on, one of this rank's virtual stages has."""
    return [layer.layer_number for layer in getattr(model, "language_model", model).decoder.layers]


def numbers(parameters: list[tuple[str, torch.Tensor]]) -> int:
    """How many numbers they hold."""
    return sum(value.numel() for _, value in parameters)


def moments(whole: Any) -> int:
    """How many numbers Adam's first moments have on this rank: one for each parameter that it updates."""
    states = [state for one in parts(whole) for state in one.state.values()]
    return sum(here(state["exp_avg"]) for state in states if "exp_avg" in state)


def here(value: Any) -> int:
    """How many numbers of a tensor this rank has: Megatron-FSDP's are shared out."""
    return int((value.to_local() if hasattr(value, "to_local") else value).numel())


def optimizer(whole: Any) -> str:
    """The class of the optimizer that updates most numbers."""
    updated = {
        type(one).__name__: sum(here(p) for group in one.param_groups for p in group["params"]) for one in parts(whole)
    }
    return max(updated, key=lambda name: updated[name], default="")


def parts(whole: Any) -> list[Any]:
    """The optimizers that one of Megatron's chains or wraps."""
    each = getattr(whole, "chained_optimizers", [whole])
    if each != [whole]:
        return [part for one in each for part in parts(one)]
    inner = getattr(whole, "optimizer", whole)
    return [inner] if inner is not None else []


def added_up(number: int, group: Any, device: torch.device) -> int:
    """Over the ranks of a group."""
    whole = torch.tensor([number], dtype=torch.int64, device=device)
    dist.all_reduce(whole, group=group)
    return int(whole.item())


def digest(parameters: list[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 of those that are trained."""
    made = hashlib.sha256()
    for name, value in parameters:
        if value.requires_grad:
            made.update(name.encode())
            made.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return made.hexdigest()


def coordinates() -> dict[str, tuple[int, int]]:
    """(this rank's place, how many there are) in each dimension, by its name in ms-swift's flags."""
    state = parallel_state
    return {
        "tensor": (state.get_tensor_model_parallel_rank(), state.get_tensor_model_parallel_world_size()),
        "pipeline": (state.get_pipeline_model_parallel_rank(), state.get_pipeline_model_parallel_world_size()),
        "context": (state.get_context_parallel_rank(), state.get_context_parallel_world_size()),
        "expert": (state.get_expert_model_parallel_rank(), state.get_expert_model_parallel_world_size()),
        "expert_tensor": (state.get_expert_tensor_parallel_rank(), state.get_expert_tensor_parallel_world_size()),
        "data": (state.get_data_parallel_rank(), state.get_data_parallel_world_size()),
    }


megatron_callbacks_map["rank_report"] = MegatronRankReport
