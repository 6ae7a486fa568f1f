"""From a failed step's log to the likely cause, where it is a known one."""

from __future__ import annotations

import re
from pathlib import Path

from gpulab.common.yamlfile import load

LINES = 200


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log, progress bars reduced to their last state."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return [line.rsplit("\r", 1)[-1] for line in text.splitlines()[-lines:]]


def likely_cause(log: Path, ending: str = "") -> str | None:
    """`cause: cure` for the first known pattern in the last lines, or in `ending` (how the process ended)."""
    text = "\n".join([*tail(log, LINES), ending])
    for entry in load(Path(__file__).with_name("causes.yml")):
        if re.search(entry["pattern"], text):
            return f"{entry['cause']}; {entry['cure']}"
    return None
