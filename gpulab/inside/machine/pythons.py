"""Python environments with packages of the lab, and whether those fit together."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.inside.machine.reading import read, said

# Python packages that the known problems are about.
WATCHED = (
    "torch", "ms-swift", "transformers", "trl", "peft", "datasets", "evalscope", "flash-attn", "transformer-engine",
    "megatron-core", "mcore-bridge", "vllm", "sglang", "deepspeed", "flash-linear-attention",
    "fla-core", "causal-conv1d",
)  # fmt: skip
# These load compiled code against torch when imported: the only way to know that they fit.
COMPILED = {
    "flash-attn": "flash_attn",
    "transformer-engine": "transformer_engine.pytorch",
    "causal-conv1d": "causal_conv1d",
}


def pythons(prefixes: Sequence[str]) -> list[dict[str, Any]]:
    """The Python environments with packages of the lab: those named, the active one, the usual ones."""
    active = [os.environ[name] for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if name in os.environ]
    found = []
    for prefix in dict.fromkeys([*prefixes, *active, "/opt/venv", "/usr/local"]):
        sites = [str(p) for p in sorted(Path(prefix).glob("lib/python3*/*-packages"))]
        if not sites:
            continue
        import importlib.metadata

        dists = importlib.metadata.distributions(path=sites)
        every = {str(d.metadata["Name"]).lower().replace("_", "-"): d.version for d in dists}
        have = {name: version for name, version in every.items() if name in WATCHED}
        if not {"torch", "ms-swift", "vllm"} & have.keys():
            continue
        interpreter = str(Path(prefix) / "bin/python3")
        broken = {}
        for package, module in COMPILED.items():
            if package in have:
                status, _, complaint = said(interpreter, "-c", f"import {module}", seconds=60)
                if status:
                    broken[package] = (complaint.splitlines() or ["it can't be imported"])[-1]
        found.append({"where": prefix, "packages": have, "broken": broken, "conflicts": conflicts(interpreter),
                      "flash_attn_max": flash_attn_max(sites)})  # fmt: skip
    return found


def conflicts(interpreter: str) -> list[str] | None:
    """What the installed packages ask of each other and do not get; None where neither uv nor pip is there to tell."""
    uv = Path(sys.executable).parent / "uv"
    told = said(str(uv), "pip", "check", "--python", interpreter, seconds=60)
    if told[0] == 127:
        told = said(interpreter, "-m", "pip", "check", seconds=60)
        if "No module named pip" in told[2] or told[0] == 127:
            return None
    return [line.strip() for line in "\n".join(told[1:]).splitlines() if re.search(r"requires|has requirement", line)]


def flash_attn_max(sites: list[str]) -> str:
    """The newest flash-attn that the installed TransformerEngine takes, from its own source."""
    for site in sites:
        for source in sorted(Path(site).glob("transformer_engine/pytorch/attention/**/utils.py")):
            named = re.search(r'\bmax_version = PkgVersion\("([\d.]+)"\)', read(source, 10**6))
            if named:
                return named[1]
    return ""
