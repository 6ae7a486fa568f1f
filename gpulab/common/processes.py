"""Stop processes and all they started: asked first, killed after a grace period."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

from gpulab.common.resources import Usage

MARK = "GPULAB_RUN"  # in the environment of every process of a run: its folder


def tree(pid: int) -> list[psutil.Process]:
    """A process and everything below it, as far as it still runs."""
    try:
        root = psutil.Process(pid)
        return [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return []


def stop(processes: list[psutil.Process], grace: float = 10) -> None:
    """Terminate `processes` with their children, wait `grace` seconds, kill what is left."""
    family = {p.pid: p for root in processes for p in tree(root.pid)}
    for process in family.values():
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(list(family.values()), timeout=grace)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


class Meter:
    """What a process and everything below it use, between two readings."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._known: dict[int, psutil.Process] = {}

    def read(self) -> Usage:
        """Processor time since the last reading, memory now."""
        cpu = rss = 0.0
        for process in tree(self._pid):
            process = self._known.setdefault(process.pid, process)  # cpu_percent is relative to its last call
            try:
                cpu += process.cpu_percent()
                rss += process.memory_info().rss
            except psutil.Error:
                self._known.pop(process.pid, None)
        return Usage(cpu, rss / 2**20)


def belonging(folder: Path) -> list[psutil.Process]:
    """Every process that was started for the run in `folder`: by the mark in its environment, or, where it is a fork
    that has another's, by the log of the run that it writes."""
    return [p for p in psutil.process_iter() if p.pid != os.getpid() and (_has_mark(p, folder) or _writes(p, folder))]


def _has_mark(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get(MARK) == str(folder)
    except psutil.Error:
        return False


def _writes(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(OSError):  # it ended, or is another user's
        return Path(f"/proc/{process.pid}/fd/1").readlink().is_relative_to(folder / "logs")
    return False
