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


def exclusive() -> FileLock:
    """One process at a time makes images or starts the engine; inside, the same may be asked for again."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return FileLock(CACHE / "lock", is_singleton=True)
