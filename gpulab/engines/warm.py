"""The warm process of a rehearsal: ms-swift is imported once (inside/warm.py), and each step is a fork of it."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gpulab.engines.interrupts import held_back
from gpulab.plan.plan import TOOLS, Command
from gpulab.stacks.stack import Stack

SHARED = "GPULAB_WARM"  # the stack and the address of another inv's: `inv rehearse` runs many labs through it
PROGRAMS = ("swift", "evalscope")  # what it is worth while for


def carries(command: Command) -> bool:
    """Whether a step is a fork, where it can be: one of several ranks is not, nor a script that needs no ms-swift."""
    alone = command.world == 1 and command.rank is None
    own = command.argv[0] == "python" and Path(command.argv[1]).is_relative_to(TOOLS)
    return alone and (command.argv[0] in PROGRAMS or own)


class Forked:
    """A step that the warm process forked, as a Popen is asked."""

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
            told = _line(self._link)
            self._status = told.get("status", -9)  # who should have told is dead
            self._link.close()
        return self._status


class Warm:
    """The process, or the one of the inv that started this one. It ends with its inv, also when that is killed."""

    def __init__(self, stack: Stack, env: Mapping[str, str]) -> None:
        """Start it, where none is shared; what it is for waits until ms-swift is imported."""
        name, _, address = os.environ.get(SHARED, "").partition(":")
        self._stack, self._address = stack, address if name == stack.venv.name else ""
        self._process = None if self._address else self._start(env)

    @property
    def shared(self) -> dict[str, str]:
        """The environment of another inv that is to use it, too."""
        return {SHARED: f"{self._stack.venv.name}:{self._address}"}

    def _start(self, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        self._address = str(Path(tempfile.mkdtemp(prefix="gpulab-warm-")) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen()
            return subprocess.Popen(
                [self._stack.bin.resolve() / "python", TOOLS / "warm.py", str(listener.fileno())], env=env,
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno()], start_new_session=True,
            )  # fmt: skip

    def fork(self, command: Command, env: Mapping[str, str], log: Path) -> Forked | None:
        """The command as a fork; None where it needs a process of its own."""
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(self._address)
            if command.argv[0] not in PROGRAMS and not select.select([link], [], [], 1)[0]:
                return None  # a twin that is made already needs no ms-swift: it does not wait for it
            if not _line(link):
                return None
            with held_back():  # what was begun is known of
                request = {"argv": command.argv, "cwd": str(command.cwd), "env": dict(env), "log": str(log)}
                link.sendall(json.dumps(request).encode() + b"\n")
                pid = _line(link).get("pid")
                return Forked(pid, link) if pid else None
        except OSError:  # it is gone
            return None

    def end(self) -> None:
        """End it, if it is our own. What it forked ends by itself, or is stopped."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            shutil.rmtree(Path(self._address).parent, ignore_errors=True)


def _line(link: socket.socket) -> dict[str, int]:
    """The next line; an empty object where there is none to come."""
    data = b""
    while not data.endswith(b"\n"):
        if not (more := link.recv(1)):
            return {}
        data += more
    told: dict[str, int] = json.loads(data)
    return told
