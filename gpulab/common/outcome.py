"""What a verb found, before it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gpulab.common.failure import Failure


@dataclass
class Outcome:
    """What a verb found: `data` for --json, `text` (anything rich can print) for people, `failures` for both."""

    data: dict[str, Any] = field(default_factory=dict)
    failures: Sequence[Failure | str] = field(default_factory=list)
    text: Any = None
    told: bool = False  # `text` shows the failures and their cures
    code: int | None = None  # an exit code other than 0 or 1: 130 after Ctrl-C, that of a tool carried out
