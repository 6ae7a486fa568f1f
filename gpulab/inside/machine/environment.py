"""What the environment tells programs of the lab."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from gpulab.inside.machine.reading import file_system, free_gib, read, said

# What a program of the lab reads from its environment; nothing else is looked at.
TOLD = re.compile(
    r"^(NCCL_.*|GLOO_.*|MASTER_(ADDR|PORT)|NNODES|NODE_RANK|NPROC_PER_NODE|.*_proxy|.*_PROXY|CUDNN_PATH|CUDA_HOME"
    r"|MODELSCOPE_CACHE|HF_HOME|HF_DATASETS_CACHE|TRITON_CACHE_DIR|LD_LIBRARY_PATH|CUDA_VISIBLE_DEVICES)$"
)
CACHES = {"MODELSCOPE_CACHE": "~/.cache/modelscope", "HF_HOME": "~/.cache/huggingface", "TRITON_CACHE_DIR": "~/.triton"}


def environment() -> dict[str, Any]:
    """What programs of the lab are told by the environment (a login's, over ssh), and the caches it names."""
    everything = dict(re.findall(r"^(\w+)=(.*)$", read("/etc/nccl.conf"), re.MULTILINE)) | os.environ
    if "SSH_CONNECTION" in everything:  # no login shell has run yet
        _, out, _ = said("bash", "-lc", "env -0")
        everything |= dict(pair.split("=", 1) for pair in out.split("\0") if "=" in pair)
    # A password in an address may hold / and @.
    told = {k: re.sub(r"(?<=://)\S*@", "***@", v) for k, v in everything.items() if TOLD.match(k)}
    caches = {}
    for name, default in CACHES.items():
        path = str(Path(told.get(name, default)).expanduser())
        caches[name] = {"path": path, "set": name in told, "file_system": file_system(path), "free_gib": free_gib(path)}
    return {"variables": dict(sorted(told.items())), "caches": caches}
