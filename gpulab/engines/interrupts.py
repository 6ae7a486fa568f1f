"""Ctrl-C and SIGTERM, told to wait, or to do nothing, where they would leave something behind or half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """An interrupt takes effect when what is inside is done. Programs that are started inside do not hear it at all.

    It reaches the main thread alone: in others there is nothing to hold back.
    """
    if current_thread() is not main_thread():
        yield
        return
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


@contextmanager
def ignored() -> Iterator[None]:
    """An interrupt does nothing: what is being cleaned up, or written, is so to its end.

    Programs that are started inside do not hear Ctrl-C either; SIGTERM ends them as ever.
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


def as_interrupt(*_: Any) -> None:
    """A handler that makes a signal the same as Ctrl-C."""
    raise KeyboardInterrupt
