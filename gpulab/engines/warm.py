"""The warm process of a rehearsal: ms-swift is imported once (inside/warm.py), and each step is a fork of it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gpulab.engines.interrupts import held_back
from gpulab.inside.forks import Forked, ask, connect, receive
from gpulab.plan.plan import TOOLS, Command
from gpulab.stacks.stack import Stack

SHARED = "GPULAB_WARM"  # the stack and the address of another inv's: `inv rehearse` runs many labs through it
# What it is worth while for, and whose imports that needs.
PROGRAMS = {
    "swift": "swift", "evalscope": "swift", "torchrun": "swift", "accelerate": "swift", "megatron": "megatron",
}  # fmt: skip
TWINS = TOOLS / "twins"


def imports(command: Command) -> str:
    """Whose imports a step is a fork of, where it can be one; nothing for a script that needs no ms-swift."""
    own = command.argv[0] == "python" and Path(command.argv[1]).is_relative_to(TOOLS)
    return PROGRAMS.get(command.argv[0], "swift" if own else "")


def worth_waiting(command: Command) -> bool:
    """Whether a step needs what is imported: no script of our own does, but for a twin that is to be made. That takes a
    second, and as a process of its own ten: of a processor that is missing where ms-swift is imported."""
    argv = command.argv
    return argv[0] in PROGRAMS or (Path(argv[1]) == TWINS and not Path(argv[3]).is_dir())


class Warm:
    """The process, or the one of the inv that started this one. It ends with its inv, also when that is killed."""

    def __init__(self, stack: Stack, env: Mapping[str, str], program: str = "swift") -> None:
        """Start it with the imports of a program, where none is shared; what it is for waits until they are made."""
        self._of = f"{stack.venv.name}/{program}"
        name, _, address = os.environ.get(SHARED, "").partition(":")
        self._address = address if name == self._of else ""
        self._process = None if self._address else self._start(stack, env, program)

    @property
    def shared(self) -> dict[str, str]:
        """The environment of another inv that is to use it, too."""
        return {SHARED: f"{self._of}:{self._address}"}

    def _start(self, stack: Stack, env: Mapping[str, str], program: str) -> subprocess.Popen[bytes]:
        self._address = str(Path(tempfile.mkdtemp(prefix="gpulab-warm-")) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen()
            return subprocess.Popen(
                [stack.bin.resolve() / "python", TOOLS / "warm.py", program, str(listener.fileno())], env=env,
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno()], start_new_session=True,
            )  # fmt: skip

    def fork(self, command: Command, env: Mapping[str, str], log: Path) -> Forked | None:
        """The command as a fork; None where it needs a process of its own."""
        try:
            link = connect(self._address)
            if not worth_waiting(command) and not select.select([link], [], [], 1)[0]:
                return None
            if not receive(link):
                return None
            with held_back():  # what was begun is known of
                return ask(link, {"argv": command.argv, "cwd": str(command.cwd), "env": dict(env), "log": str(log)})
        except OSError:  # it is gone
            return None

    def end(self) -> None:
        """End it, if it is our own. What it forked ends by itself, or is stopped."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            shutil.rmtree(Path(self._address).parent, ignore_errors=True)
