"""Where the testbed keeps its things: all below the ignored .cache, but for the sockets."""

import hashlib
import os
import tempfile
from pathlib import Path

from filelock import FileLock

REPO = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("GPULAB_TESTBED_CACHE", REPO / ".cache" / "testbed"))
# A socket's path must be short, a checkout's may be long.
RUNTIME = Path(tempfile.gettempdir()) / f"gpulab-testbed-{hashlib.sha256(str(CACHE).encode()).hexdigest()[:8]}"
SOCKET = RUNTIME / "docker.sock"


def exclusive(what: str) -> FileLock:
    """One process at a time makes the same thing for all; inside, it may be asked for again."""
    locks = CACHE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / what.replace("/", "_"), is_singleton=True)
