"""Stop processes and all they started: asked first, killed after a grace period."""

from __future__ import annotations

import contextlib

import psutil


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
