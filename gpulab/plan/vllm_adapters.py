"""What vLLM takes of adapters, known before it is started: its own refusal comes minutes later, or with a request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.plan.adapter_fit import CONFIG, json_of

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what its memory for adapters can be laid out for


def rank_for(adapters: Sequence[Path]) -> int:
    """The smallest rank that vLLM can be started with for all of these."""
    needed = max((rank(json_of(adapter / CONFIG)) for adapter in adapters), default=0)
    return next((known for known in RANKS if known >= needed), RANKS[-1])


def refused(adapter: Path, max_rank: int) -> str | None:
    """Why vLLM, started for adapters of `max_rank`, would not take this one; None where it does."""
    config = json_of(adapter / CONFIG)
    if rank(config) > max_rank:
        return f"its rank is {rank(config)}, vLLM would be started for at most {max_rank}"
    if config.get("use_dora"):
        return "it is trained with DoRA"
    if config.get("bias", "none") != "none" or config.get("lora_bias"):
        return "it has biases of its own"
    whole = [name for name in config.get("modules_to_save") or [] if name not in ("classifier", "score")]
    return f"it holds whole modules: {', '.join(whole)}" if whole else None


def rank(config: dict[str, Any]) -> int:
    """An adapter's greatest rank: single layers may have one of their own."""
    return max([int(config.get("r", 0)), *map(int, (config.get("rank_pattern") or {}).values())])
