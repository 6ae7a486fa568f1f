"""The models of a lab by the memory that they take: its own, and smaller ones of the same family for smaller GPUs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from gpulab.common.yamlfile import fault
from gpulab.lab.written import LabFile, Smaller

SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([BM])(-A\d+(?:\.\d+)?B)?(?![\w.])")  # 7B, 30B-A3B, 500M


def family(model: str) -> str:
    """A model's name with its size left open: `Qwen/Qwen2.5-*-Instruct`."""
    return SIZE.sub("*", model, count=1)


def billions(model: str) -> float | None:
    """How many billion parameters its name says; None where it says none."""
    found = SIZE.search(model)
    return float(found[1]) / (1000 if found[2] == "M" else 1) if found else None


def check_sizes(path: Path, lab: LabFile) -> None:
    """Raise UsageError with file and line for a smaller model that is none, is of another family, or takes no less."""
    if not lab.smaller:
        return
    if not lab.model or not lab.needs.gpus:
        raise fault(path, ["smaller"], "only a lab with a model and GPUs has smaller ones", "say `model`, or remove it")
    if billions(lab.model) is None:
        raise fault(path, ["model"], f"{lab.model} tells no size, so no other can be smaller", "remove `smaller`")
    larger: Sequence[Smaller] = [Smaller(model=lab.model, vram_gib=lab.needs.vram_gib), *lab.smaller]
    for number, (before, size) in enumerate(zip(larger, lab.smaller, strict=False)):
        place: list[str | int] = ["smaller", number]
        if family(size.model) != family(lab.model):
            wrong = f"{size.model} is of another family than {lab.model}"
            raise fault(path, [*place, "model"], wrong, f"take a size of {family(lab.model)}")
        if (billions(size.model) or 0) >= (billions(before.model) or 0):
            raise fault(path, [*place, "model"], f"{size.model} is no smaller than {before.model}", "the largest first")
        if size.vram_gib >= before.vram_gib:
            wrong = f"{size.model} takes no less memory than {before.model}: {before.vram_gib:g} GiB"
            raise fault(path, [*place, "vram_gib"], wrong, "say about what it takes; ./inv plan estimates it")
