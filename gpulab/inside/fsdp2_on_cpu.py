"""FSDP2 on a CPU: a rehearsal's `--external_plugins`. Accelerate shards on accelerators only and else trains with DDP,
without a word; PyTorch itself shards over gloo just as well. Source: accelerate/state.py, AcceleratorState.__init__.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

_init = AcceleratorState.__init__


@wraps(_init)
def _with_fsdp(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
    _init(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin
        PartialState._shared_state["distributed_type"] = self.distributed_type


AcceleratorState.__init__ = _with_fsdp
