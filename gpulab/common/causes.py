"""From a failed step's log to the likely cause, where it is a known one."""

from __future__ import annotations

import re
from pathlib import Path

from gpulab.common import redact
from gpulab.common.diagnosis import diagnose

LINES = 200
LAST = 2**20  # bytes that are read of a log, however large it is


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log without the secrets in them, progress bars reduced to their last state; of a long log the
    line in which its end begins is left out: a secret may be cut there."""
    if not log.is_file():
        return []
    with log.open("rb") as stream:
        before = log.stat().st_size - LAST
        stream.seek(max(before, 0))
        end = stream.read()
    if before > 0:
        end = re.sub(rb"\A[^\r\n]*[\r\n]?", b"", end)
    text = end.decode("utf-8", errors="replace")
    last = text.removesuffix("\n").split("\n")[-lines:] if text else []
    return [redact.text(line.rstrip("\r").rsplit("\r", 1)[-1]) for line in last]


def likely_cause(log: Path, ending: str = "", *, serves: bool = False) -> str | None:
    """`cause; cure` where the last lines, or `ending` (how the process ended), are those of a known failure. `serves`:
    of a server, to which other settings belong."""
    said = "\n".join([*tail(log, LINES), ending])
    known = (diagnose(said, "serve") if serves else None) or diagnose(said, "step")
    return f"{known.message}; {known.cure}" if known else None
