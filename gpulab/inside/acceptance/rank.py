"""One process for one device: measure, together with the others where that is the point, and write it down."""

from __future__ import annotations

import argparse
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from gpulab.inside.acceptance import collectives, compute, storage
from gpulab.inside.acceptance.health import Watch


def measure(device: torch.device, out: Path, seconds: float) -> dict[str, Any]:
    """This rank's figures, flat: GB/s, TFLOP/s, seconds, counts."""
    rank, world = dist.get_rank(), dist.get_world_size()
    local, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    figures: dict[str, Any] = {}
    for turn in range(here):  # one at a time: GPUs behind one PCIe switch share it
        if turn == local:
            figures |= compute.copies(device)
        dist.barrier()
    figures["memory_gbs"] = compute.memory(device)
    mine = [dist.new_group(list(range(first, first + here))) for first in range(0, world, here)][rank // here]
    figures |= {f"host_{name}": value for name, value in collectives.bandwidths(device, mine, here).items()}
    if world > here:
        figures |= {f"all_{name}": value for name, value in collectives.bandwidths(device, None, world).items()}
    dist.barrier()
    if local == 0:
        for name, folder in {"disk": Path(tempfile.gettempdir()), "shared": out}.items():
            figures |= {f"{name}_{key}": value for key, value in storage.throughput(folder).items()}
    dist.barrier()
    if device.type != "cuda":
        return {**figures, **compute.burn_in(device, seconds)}
    with Watch(f"GPU-{torch.cuda.get_device_properties(device).uuid}") as watch:
        figures |= compute.burn_in(device, seconds)
    return {**figures, **watch.told()}


def main() -> None:
    """The command line; torchrun tells ranks by the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo")
    told = {
        "rank": dist.get_rank(), "world_size": dist.get_world_size(), "host": socket.gethostname(),
        "node_rank": int(os.environ["GROUP_RANK"]),
        "local_world_size": int(os.environ["LOCAL_WORLD_SIZE"]),
        "device": torch.cuda.get_device_name(device) if gpu else "CPU",
        "torch": torch.__version__, "figures": measure(device, args.out, args.seconds),
    }  # fmt: skip
    path = args.out / "machines" / f"{dist.get_rank()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told) + "\n", encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
