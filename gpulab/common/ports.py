"""Ports on this machine that a server can take."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress

FIRST = 8000


def is_free(port: int) -> bool:
    """Whether nobody has `port` now, and no connection of an earlier server is left on it.

    ms-swift looks in the same way, on all addresses and without SO_REUSEADDR: where that fails `swift deploy` serves on
    the next port, without a word.
    """
    with socket.socket() as probe:
        return _binds(probe, "", port)


def can_listen(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now: connections in TIME_WAIT are no obstacle."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _binds(probe, "127.0.0.1", port)


def _binds(probe: socket.socket, address: str, port: int) -> bool:
    try:
        probe.bind((address, port))
    except OSError:
        return False
    return True


def hold(port: int) -> socket.socket | None:
    """The port for a server that is about to be started; None where somebody has it, or is about to.

    ms-swift imports for ten seconds before it listens, and another run may choose its port meanwhile. The claim is a
    Unix socket with an abstract name: all users of this machine see it, and it ends with the process that holds it.
    """
    claim = socket.socket(socket.AF_UNIX)
    with suppress(OSError):
        claim.bind(f"\0gpulab.port.{port}")
        if is_free(port):
            return claim
    claim.close()
    return None


def free_port(start: int = FIRST, taken: Iterable[int] = ()) -> int:
    """The first free port from `start` on that is not in `taken`. Raises OSError when there is none."""
    taken = set(taken)
    for port in range(start, 65536):
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port")
