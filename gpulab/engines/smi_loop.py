"""A host's GPUs, read by a looping nvidia-smi over ssh."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence

SMI = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "--loop=2")


class SmiLoop:
    """A looping nvidia-smi on a host: the latest mean utilization in percent and MiB in use."""

    def __init__(self, argv: Sequence[str], count: int) -> None:
        self._process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._latest = [(0.0, 0.0)] * count
        threading.Thread(target=self._read, daemon=True).start()

    def __call__(self) -> tuple[float, float]:
        """The latest: percent, MiB."""
        return sum(p for p, _ in self._latest) / len(self._latest), sum(m for _, m in self._latest)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout  # noqa: S101 (a pipe, see above)
        for number, line in enumerate(self._process.stdout):  # the GPUs in turn
            percent, mib = (float(part) if part.strip().isdigit() else 0.0 for part in line.split(","))
            self._latest[number % len(self._latest)] = (percent, mib)
