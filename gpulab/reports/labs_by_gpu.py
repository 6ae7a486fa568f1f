"""`inv labs --gpu`: which labs run on such GPUs, and with which of their models."""

from __future__ import annotations

import math
import re

from rich.console import Group
from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.listing import lines
from gpulab.common.outcome import Outcome
from gpulab.lab.lab import Lab
from gpulab.reports.labs import all_labs

ASKED = re.compile(r"(?:([1-9]\d{0,3})x)?(\d+(?:\.\d+)?)")


def labs_on(gpu: str) -> Outcome:
    """Every lab, and the largest of its models that such GPUs suffice for. Raises UsageError for what is no GPU."""
    count, vram = parse(gpu)
    labs, failures = all_labs()
    rows = []
    listed = lines("lab", "runs", "model")
    for lab in labs:
        fits = next((size for size in lab.sizes if suffices(size, count, vram)), None)
        model = (fits and fits.model) or ""
        how = "no" if fits is None else "as written" if model == (lab.model or "") else "smaller"
        rows.append({"lab": lab.name, "runs": how, "model": model, "needs": str((fits or lab.sizes[-1]).needs)})
        listed.add_row(lab.name, how, model if fits else f"needs {lab.sizes[-1].needs}")
    running = sum(row["runs"] != "no" for row in rows)
    told = Text(f"{running} of {len(rows)} labs run on {count} GPU{'s' * (count > 1)} with {vram:g} GiB", style="dim")
    return Outcome({"gpus": count, "vram_gib": vram, "labs": rows}, failures=failures, text=Group(listed, told))


def parse(gpu: str) -> tuple[int, float]:
    """How many GPUs, and the memory of each. Raises UsageError."""
    found = ASKED.fullmatch(gpu)
    if not found or not 0 < (vram := float(found[2])) < math.inf:
        raise UsageError(f"--gpu {gpu}: not GiB of memory", "for example --gpu 12, or --gpu 2x24 for two GPUs")
    return int(found[1] or 1), vram


def suffices(lab: Lab, count: int, vram: float) -> bool:
    """Whether one machine with such GPUs runs the lab."""
    needs = lab.needs
    return needs.nodes == 1 and needs.gpus <= count and (not needs.gpus or needs.vram_gib <= vram)
