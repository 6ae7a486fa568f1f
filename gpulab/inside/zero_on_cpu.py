"""DeepSpeed's ZeRO over several CPU ranks: a rehearsal's `--external_plugins`.

ZeRO-3 reads the world's size while the model loads: on a GPU the process group is there by then. ZeRO-2 gathers into
views that torch lets nobody write to while gradients are recorded; NCCL does not look, gloo does. And a rehearsal needs
no compiler: DeepSpeed would build an all-reduce of its own for CPUs, gloo's will do.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import deepspeed
import torch

backend: Any = import_module("deepspeed.comm.torch")  # as an attribute, `torch` there is torch itself
backend.build_shm_op = lambda: None
backend.TorchBackend.all_gather_into_tensor = torch.no_grad()(backend.TorchBackend.all_gather_into_tensor)
deepspeed.init_distributed("gloo")
