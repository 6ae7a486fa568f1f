"""Reading a stream in pieces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpulab.common.paths import ROOT
from tests.wait import wait_until

READER = """
import sys
from gpulab.images.streams import chunks

for _ in chunks(sys.stdin.buffer):
    pass
"""


@pytest.fixture
def one_processor() -> Iterator[None]:
    """Reader and writer take turns on one, so that the reader meets a piece and a signal at the same moment."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    yield
    os.sched_setaffinity(0, every)


@pytest.mark.usefixtures("one_processor")
def test_an_interrupt_beside_a_piece_is_heard_though_nothing_follows():
    for _ in range(5):  # of ten, seven were lost where a piece was asked for until it was whole
        reader = subprocess.Popen(
            [sys.executable, "-c", READER], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        with reader:
            waits_in = Path(f"/proc/{reader.pid}/wchan")
            wait_until(lambda waits_in=waits_in: "pipe_read" in waits_in.read_text(), "a reader that waits for a piece")
            os.write(reader.stdin.fileno(), b"x")
            reader.send_signal(signal.SIGINT)
            try:
                assert reader.wait(timeout=10) == -signal.SIGINT
            finally:
                reader.kill()
