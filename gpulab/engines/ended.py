"""How a step ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Ended:
    """Its exit status (None for a server that is up), why it failed, if it did, and the log that says so where it is
    not the step's own."""

    exit: int | None
    failure: str | None = None
    log: Path | None = None
