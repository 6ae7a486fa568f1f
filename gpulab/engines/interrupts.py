"""Ctrl-C and SIGTERM, told to wait where an interrupt would leave something behind that nobody knows of."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """An interrupt takes effect when what is inside is done. Programs that are started inside do not hear it at all."""
    heard: list[int] = []
    before = {number: signal.signal(number, lambda got, _: heard.append(got)) for number in SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # what is started takes this over
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:
        raise KeyboardInterrupt


def as_interrupt(*_: Any) -> None:
    """A handler that makes a signal the same as Ctrl-C."""
    raise KeyboardInterrupt
