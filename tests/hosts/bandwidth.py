"""Measure, on all GPUs of a host, copies from pinned memory and the bus bandwidth of an all-reduce.

Prints one JSON line.
"""

import json
import os
import time
from collections.abc import Callable

import torch
import torch.distributed as dist

GIB = 2**30


def seconds(work: Callable[[], object], repeats: int = 10) -> float:
    work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def main() -> None:
    rank, world = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    torch.cuda.set_device(rank)
    host = torch.empty(GIB, dtype=torch.uint8, pin_memory=True)
    device = torch.empty_like(host, device="cuda")
    if world > 1:
        dist.init_process_group("nccl")
    figures: dict[str, float] = {"gpus": world}
    for turn in range(world):  # one at a time: GPUs behind one PCIe switch share it
        if turn == rank:
            figures["h2d_gbs"] = GIB / seconds(lambda: device.copy_(host, non_blocking=True)) / 1e9
        if world > 1:
            dist.barrier()
    if world > 1:
        slowest = torch.tensor(figures["h2d_gbs"], device="cuda")
        dist.all_reduce(slowest, dist.ReduceOp.MIN)
        figures["h2d_gbs"] = slowest.item()
        data = torch.empty(8 * GIB // 2, dtype=torch.bfloat16, device="cuda")
        taken = seconds(lambda: dist.all_reduce(data))
        # NCCL's own measure: what each link carries, whatever the number of GPUs.
        figures["all_reduce_gbs"] = 8 * GIB / taken / 1e9 * 2 * (world - 1) / world
        dist.destroy_process_group()
    if rank == 0:
        print(json.dumps(figures))


main()
