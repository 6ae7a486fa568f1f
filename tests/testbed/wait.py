"""Wait for a condition with a deadline; never sleep and hope."""

import time
from collections.abc import Callable


def wait_until(ready: Callable[[], bool], what: str, timeout: float = 60, every: float = 0.1) -> None:
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        time.sleep(every)
