"""DeepSpeed's ZeRO over several CPU ranks: a rehearsal's `--external_plugins`.

ZeRO-3 reads the world's size while the model loads: on a GPU the process group is there by then. ZeRO-2 gathers into
views that torch lets nobody write to while gradients are recorded; NCCL does not look, gloo does.
"""

from __future__ import annotations

import deepspeed
import torch
from deepspeed.comm.torch import TorchBackend

TorchBackend.all_gather_into_tensor = torch.no_grad()(TorchBackend.all_gather_into_tensor)
deepspeed.init_distributed("gloo")
