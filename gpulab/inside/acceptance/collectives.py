"""All-reduce and all-to-all, among a host's devices and among all: bus bandwidth, as NCCL's own tests count it."""

from __future__ import annotations

import torch
import torch.distributed as dist

from gpulab.inside.acceptance.timing import seconds


def bandwidths(device: torch.device, among: dist.ProcessGroup | None, world: int) -> dict[str, float]:
    """GB/s that each link carries, whatever the number of ranks; nothing for a rank alone."""
    if world < 2:
        return {}
    bytes_ = 2**30 if device.type == "cuda" else 2**24
    data = torch.ones(bytes_ // 4 // world * world, dtype=torch.float32, device=device)
    got = torch.empty_like(data)
    share = (world - 1) / world
    reduce = seconds(lambda: dist.all_reduce(data, op=dist.ReduceOp.MAX, group=among), device, 5)
    figures = {"all_reduce_gbs": 2 * share * data.nbytes / reduce / 1e9}
    exchange = seconds(lambda: dist.all_to_all_single(got, data, group=among), device, 5)
    return {**figures, "all_to_all_gbs": share * data.nbytes / exchange / 1e9}
