"""The values of this process's secrets in a file, overwritten where they stand."""

from __future__ import annotations

import re
from pathlib import Path

from gpulab.common import redact

BLOCK = 2**20


def secrets_in(file: Path) -> None:
    """Put stars in their place, as many letters: the file keeps its length, so that who follows it, or writes on, finds
    the place again."""
    values = [value.encode() for value in redact.values()]
    if not values or not file.is_file():
        return
    longest = max(map(len, values))
    with file.open("r+b") as stream:
        begin, kept = 0, b""
        while more := stream.read(BLOCK):
            text = kept + more
            for at, size in [(m.start(), len(v)) for v in values for m in re.finditer(re.escape(v), text)]:
                stream.seek(begin + at)
                stream.write(b"*" * size)
            kept = text[-longest:]  # as it was: a value may go on behind the block, also one that begins like another
            begin += len(text) - len(kept)
            stream.seek(begin + len(kept))
