"""One provision at a time per inventory: a lock that says who holds it and that dies with its holder."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.paths import CACHE


def lock_file(inventory: Path) -> Path:
    """The lock of an inventory: the same file by whatever name it is reached."""
    return CACHE / f"provision-{hashlib.sha256(str(inventory.resolve()).encode()).hexdigest()[:12]}.lock"


@contextmanager
def holding(inventory: Path, *, wait: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the inventory's lock. Taken already: waits after saying so, or raises UsageError with pid, user and time."""
    path = lock_file(inventory)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = holder(path)
            if not wait:
                raise UsageError(
                    f"{inventory.name} is being provisioned by {who}", "wait for it: --wait, or stop it: Ctrl-C there"
                ) from None
            say(f"{inventory.name} is being provisioned by {who}, waiting for it ...")
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.truncate(0)
        mine = {"pid": os.getpid(), "user": getpass.getuser(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        handle.write(json.dumps(mine))
        handle.flush()
        try:
            yield
        finally:
            handle.truncate(0)


def holder(path: Path) -> str:
    """Who wrote himself into the lock: the lock itself is the kernel's, this is only for the reader."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # taken this instant, not yet written
        return "another inv"
    return f"{held['user']} (pid {held['pid']}) since {held['since']}"
