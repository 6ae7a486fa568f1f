"""How a warm process (warm.py) is asked for a fork: by an inv for a step, by a launcher for a rank."""

from __future__ import annotations

import json
import select
import socket
import subprocess
from contextlib import suppress
from typing import Any


class Forked:
    """A process that a warm one forked, as a Popen is asked."""

    def __init__(self, pid: int, link: socket.socket) -> None:
        self.pid, self._link = pid, link
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, waited for. Raises TimeoutExpired."""
        if self._status is None:
            if not select.select([self._link], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            told = receive(self._link)
            self._status = told.get("status", -9)  # who should have told is dead
            self._link.close()
        return self._status


def connect(address: str) -> socket.socket:
    """A link to the warm process of this address. Raises OSError where it is gone."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(address)
    return link


def ask(link: socket.socket, request: dict[str, Any]) -> Forked | None:
    """The fork that carries a request out; None where it needs a process of its own. Raises OSError."""
    send(link, **request)
    pid = receive(link).get("pid")
    return Forked(pid, link) if pid else None


def send(link: socket.socket, **told: Any) -> None:
    """Send a line. Raises OSError."""
    link.sendall(json.dumps(told).encode() + b"\n")


def receive(link: socket.socket) -> dict[str, Any]:
    """The next line; an empty object where there is none to come. Raises OSError."""
    data = b""
    while not data.endswith(b"\n"):
        if not (more := link.recv(1)):
            return {}
        data += more
    told: dict[str, Any] = json.loads(data)
    return told
