"""A folder's disk: writing to the end, and reading what is not in memory any more."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

BLOCK = os.urandom(2**24)  # no disk can make it smaller
BLOCKS = 32


def throughput(folder: Path) -> dict[str, float]:
    """{"write_gbs", "read_gbs"} of one file of 512 MiB, written through to the disk. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        start = time.perf_counter()
        for _ in range(BLOCKS):
            file.write(BLOCK)
        file.flush()
        os.fsync(file.fileno())
        write = time.perf_counter() - start
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # or it would be read from memory
        file.seek(0)
        start = time.perf_counter()
        while file.read(len(BLOCK)):
            pass
        read = time.perf_counter() - start
    return {"write_gbs": BLOCKS * len(BLOCK) / write / 1e9, "read_gbs": BLOCKS * len(BLOCK) / read / 1e9}
