"""Standard output and standard error that never break a verb: any alphabet, a reader that left, a full disk."""

from __future__ import annotations

import contextlib
import errno
import io
import sys
from typing import Any


class Output(io.FileIO):
    """Keeps the first error of writing and drops what comes after it: a run goes on and is recorded all the same."""

    failed: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, or drop."""
        if self.failed is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failed = error
        return memoryview(data).nbytes


def protect() -> None:
    """Let the two streams never raise. A character that the terminal does not have is written as its escape."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this: its number is the next opened file's, so not to be used
            setattr(sys, name, open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper):
            stream.flush()
            raw = Output(stream.fileno(), "wb", closefd=False)
            made = io.TextIOWrapper(
                raw if stream.write_through else io.BufferedWriter(raw), stream.encoding, "backslashreplace",
                line_buffering=stream.line_buffering, write_through=stream.write_through,
            )  # fmt: skip
            setattr(sys, name, made)


def unwritten() -> str | None:
    """Why standard output is not whole, where that matters: not where its reader left, as `head -1` does."""
    with contextlib.suppress(ValueError):  # closed by now
        sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    failed = raw.failed if isinstance(raw, Output) else None
    return None if failed is None or failed.errno == errno.EPIPE else str(failed.strerror)
