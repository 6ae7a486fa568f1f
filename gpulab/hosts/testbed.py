"""`inv testbed`: real hosts to try the roles and verbs on, made by tests/testbed on this machine."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown

NEEDS = ("docker", "dockerd", "mmdebstrap")


def testbed(*, up: str, down: bool, name: str, shared: bool, controller: bool) -> Outcome:
    """Bring up so many hosts, or take them down; the inventory that reaches them.

    Raises UsageError for wrong numbers, both or neither of the two, and where the machine lacks what it takes.
    """
    if bool(up) == down:
        raise UsageError("a testbed goes either up or down", "./inv testbed --up 2, or ./inv testbed --down")
    if up and not (up.isdigit() and 1 <= int(up) <= 16):
        raise UsageError(f"--up {up}: how many hosts?", "a number from 1 to 16")
    if down and (shared or controller):
        raise UsageError("--shared and --controller say how hosts are made", f"./inv testbed --down --name {name}")
    missing = [program for program in NEEDS if not shutil.which(program)]
    if missing:
        raise UsageError(f"this machine has no {', '.join(missing)}", "install what tests/testbed/packages.txt lists")
    hosts = importlib.import_module("tests.testbed.__main__")
    if down:
        hosts.down(name)
        return Outcome({"name": name}, text=f"the testbed {name} is down")
    inventory: Path = hosts.up(name, int(up), gpus=2, shared=shared, controller=controller, say=console.print)
    return Outcome({"name": name, "inventory": str(inventory)}, text=f"./inv provision --hosts {shown(inventory)}")
