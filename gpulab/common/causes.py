"""From a failed step's log to the likely cause, where it is a known one."""

from __future__ import annotations

from pathlib import Path

from gpulab.common.diagnosis import diagnose

LINES = 200
LAST = 2**20  # bytes that are read of a log, however large it is


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log, progress bars reduced to their last state."""
    if not log.is_file():
        return []
    with log.open("rb") as stream:
        stream.seek(max(log.stat().st_size - LAST, 0))
        text = stream.read().decode("utf-8", errors="replace")
    last = text.removesuffix("\n").split("\n")[-lines:] if text else []
    return [line.rstrip("\r").rsplit("\r", 1)[-1] for line in last]


def likely_cause(log: Path, ending: str = "") -> str | None:
    """`cause; cure` where the last lines, or `ending` (how the process ended), are those of a known failure."""
    known = diagnose("\n".join([*tail(log, LINES), ending]), "step")
    return f"{known.message}; {known.cure}" if known else None
