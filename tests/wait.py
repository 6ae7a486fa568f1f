"""Wait for a condition with a deadline; never sleep and hope."""

import time
from collections.abc import Callable

PATIENCE = 3  # deadlines are a quiet machine's, and groups of tests run beside each other
SPARING = 3  # a question that takes long, of a host or a queue, is asked less often: others need the processors


def wait_until(ready: Callable[[], object], what: str, timeout: float = 120, every: float = 0.05) -> None:
    """Poll until `ready()` holds. Raises TimeoutError with `what` after `timeout` seconds of a quiet machine."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        asked = time.monotonic()
        if ready():
            return
        took = time.monotonic() - asked
        if asked + took > deadline:
            raise TimeoutError(f"after {timeout:.0f} s still not: {what}")
        time.sleep(max(every, SPARING * took))
