"""Start a process for each of this machine's GPUs, and wait for all of them."""

from __future__ import annotations

import argparse
import os
import sys

import torch

parser = argparse.ArgumentParser(prog="acceptance")
parser.add_argument("--nodes", default="1")
parser.add_argument("--node-rank", default="0")
parser.add_argument("--master-addr", default="127.0.0.1")
parser.add_argument("--master-port", default="29500")
parser.add_argument("--seconds", default="10", help="how long the burn-in lasts")
parser.add_argument("--out", required=True)
args = parser.parse_args()
torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", args.nodes, "--node_rank", args.node_rank]
torchrun += ["--master_addr", args.master_addr, "--master_port", args.master_port]
torchrun += ["--nproc_per_node", str(max(1, torch.cuda.device_count())), "-m", "gpulab.inside.acceptance.rank"]
os.execv(torchrun[0], [*torchrun, "--out", args.out, "--seconds", args.seconds])  # noqa: S606 (it takes our place: signals reach it)
