"""Fixtures that all tests share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

Wait = Callable[..., None]


@pytest.fixture
def wait_until() -> Wait:
    """wait_until(condition, what, seconds): poll until it holds; fail with `what` after the deadline."""

    def wait(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"after {seconds} s still not: {what}")
            time.sleep(0.05)  # the poll's interval: the condition decides, not the clock

    return wait
