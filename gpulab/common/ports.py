"""Ports on this machine that a server can take."""

from __future__ import annotations

import socket
from collections.abc import Iterable

FIRST = 8000


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(start: int = FIRST, taken: Iterable[int] = ()) -> int:
    """The first free port from `start` on that is not in `taken`. Raises OSError when there is none."""
    taken = set(taken)
    for port in range(start, 65536):
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port")
