"""The logs of a spread step's nodes: each in its own file, interleaved line by line in the step's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from gpulab.common import redact


class RankLogs:
    """Follows the nodes' logs into the step's own, each line with its node's rank in front."""

    def __init__(self, logs: Mapping[int, Path], merged: Path) -> None:
        self._logs = logs
        self._merged = merged
        self._read = dict.fromkeys(logs, 0)
        self.last_word = time.monotonic()
        """When the last line came, of any node."""
        merged.write_bytes(b"")

    def follow(self) -> list[str]:
        """The lines that came since the last call, as `[rank] line`; progress bars as they stand at the line's end."""
        lines: list[str] = []
        for rank, log in self._logs.items():
            if not log.is_file():
                continue
            size = log.stat().st_size
            if size < self._read[rank]:  # followed anew from the start, after a lost connection: nothing twice
                continue
            with log.open("rb") as stream:
                stream.seek(self._read[rank])
                whole = stream.read().rpartition(b"\n")[0]
            if whole:
                self._read[rank] += len(whole) + 1
                text = whole.decode(errors="replace")
                lines += [redact.text(f"[{rank}] {line.rsplit(chr(13), 1)[-1]}") for line in text.split("\n")]
        if lines:
            self.last_word = time.monotonic()
            with self._merged.open("a", encoding="utf-8") as merged:
                merged.write("\n".join(lines) + "\n")
        return lines
