"""Text files that a user writes: of a bearable size, UTF-8, without control characters."""

from __future__ import annotations

import re
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.paths import shown

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


def contents(path: Path, most: int, cure: str) -> bytes:
    """What is in `path`. Raises UsageError where it can't be read or has more than `most` bytes; `cure`: what helps."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(most + 1)
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror})", "check the file and its mode") from None
    if len(raw) > most:
        size = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
        raise UsageError(f"{shown(path)}: larger than {size}", cure)
    return raw


def decoded(path: Path, raw: bytes) -> str:
    """`raw`, read from `path`, as text. Raises UsageError with file and line for what is none."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{shown(path)}:{line}: not UTF-8 text ({error.reason})", "save it as UTF-8") from None
    if found := CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise UsageError(f"{shown(path)}:{line}: control character {found[0]!r}", "remove it")
    return text
