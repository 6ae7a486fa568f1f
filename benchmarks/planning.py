"""How planning grows with the hosts: `.venv/bin/python benchmarks/planning.py --hosts 10 100 1000`.

Generated inventories of hosts with eight GPUs each, which nobody has: their addresses are those that RFC 2544 keeps
for benchmarks. Measured are the inventory alone (ansible-inventory and the checks on what it says), the choice of a
layout for a large model with experts over all hosts, `inv plan` as a user calls it, and with --ask also `inv hosts`,
which waits for hosts that never answer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpulab.common.paths import ROOT
from gpulab.hosts.inventory import load_hosts
from gpulab.plan.layout.choose import Asked, choose_layout
from gpulab.plan.layout.shape import find_shape
from gpulab.plan.layout.training import Training

LARGE = "Qwen/Qwen3-235B-A22B"
LAB = "megatron/multi-node"


def inventory(count: int) -> str:
    """An inventory of so many hosts in three groups, each with an address and a variable of its own."""
    rows = [f"gpu{n} ansible_host=198.{18 + n // 65536}.{n // 256 % 256}.{n % 256} gpu_count=8" for n in range(count)]
    return "\n".join(["[gpu]", *rows, "[controller]", "gpu0", "[storage]", "gpu0", "[gpu:vars]", "gpu=required", ""])


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The best of some rounds: what it takes when nothing else wants the processors."""
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return round(best, 3)


def inv(*words: str, ends: tuple[int, ...] = (0,)) -> dict[str, object]:
    """A verb in a process of its own; what it printed for --json."""
    done = subprocess.run([ROOT / "inv", *words, "--json"], capture_output=True, text=True, check=False)
    if done.returncode not in ends:
        raise SystemExit(
            f"inv {' '.join(words)} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
        )
    told: dict[str, object] = json.loads(done.stdout)
    return told


def choose(count: int) -> object:
    """A layout over all hosts; a batch that every one of their GPUs can have a sample of."""
    training = Training(megatron=True, sequence=4096, batch=count * 8, recompute=True, sequence_parallel=True)
    return choose_layout(Asked("train", count, 8, 80, find_shape(LARGE), training, {}))


def measured(count: int, rounds: int, *, ask: bool) -> dict[str, object]:
    """One row."""
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write(inventory(count))
        file.flush()
        words = ["plan", LAB, "--hosts", file.name, "--nodes", str(count), "--gpus", "8", "--vram-gib", "80"]
        words += ["--set", f"train.global_batch_size={count * 8}"]
        row: dict[str, object] = {
            "hosts": count,
            "inventory": seconds(lambda: load_hosts(file.name), rounds),
            "layout": seconds(lambda: choose(count), rounds),
            "inv_plan": seconds(lambda: inv(*words), rounds),
        }
        if ask:
            row["inv_hosts_unreachable"] = seconds(lambda: inv("hosts", "--hosts", file.name, ends=(1,)), 1)
    return row


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ask", action="store_true", help="also inv hosts, which takes minutes")
    args = parser.parse_args()
    rows = [measured(count, args.rounds, ask=args.ask) for count in args.hosts]
    print(json.dumps({"lab": LAB, "seconds": rows, "load": os.getloadavg()}, indent=1))


if __name__ == "__main__":
    main()
