"""Ctrl-C and SIGTERM while something is put in order."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM do nothing: what is being cleaned up, or written, is so to its end.

    Programs started inside do not hear Ctrl-C either; SIGTERM ends them as ever.
    """
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: None),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
