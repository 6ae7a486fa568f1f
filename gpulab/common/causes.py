"""From a failed step's log to the likely cause, where it is a known one."""

from __future__ import annotations

from pathlib import Path

from gpulab.common.diagnosis import diagnose

LINES = 200


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log, progress bars reduced to their last state."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return [line.rsplit("\r", 1)[-1] for line in text.splitlines()[-lines:]]


def likely_cause(log: Path, ending: str = "") -> str | None:
    """`cause; cure` where the last lines, or `ending` (how the process ended), are those of a known failure."""
    known = diagnose("\n".join([*tail(log, LINES), ending]), "step")
    return f"{known.message}; {known.cure}" if known else None
