"""Live progress of a play: a table of hosts on a terminal, a line per role and per failure elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.live import Live
from rich.table import Table
from rich.text import Text

from gpulab.common.console import console
from gpulab.hosts.play_recap import HostRecap, PlayRecap

STYLES = {
    "failed": "red",
    "unreachable": "red",
    "changed": "yellow",
    "interrupted": "yellow",
    "converged": "green",
    "waiting": "dim",
}

RIGHT = ("ok", "changed", "seconds")


class Progress:
    """A context manager whose `watch` is told of every change of a recap."""

    def __init__(self) -> None:
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._said: set[str] = set()

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update("")  # the final table is the verb's answer
            self._live.stop()

    def watch(self, recap: PlayRecap) -> None:
        """Show where every host is."""
        if self._live:
            self._live.update(table(recap))
            return
        for name, host in recap.hosts.items():
            if host.waits_for:
                self._once(f"{name} waits at {host.role}: {host.waits_for}")
            elif host.role and host.state == "running":
                self._once(f"{host.role} ...")
            elif host.state in ("failed", "unreachable"):
                self._once(f"{name} {host.state} at {host.role}: {host.task}")

    def _once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            console.print(f"  {line}", markup=False)


def table(recap: PlayRecap) -> Table:
    """Host by host: role, task, counts; while it runs also for how many seconds, and what a host waits for."""
    runs = any(host.state == "running" for host in recap.hosts.values())
    grid = Table(box=None, pad_edge=False)
    for title in ("host", "state", "ok", "changed", "role", *(["seconds"] if runs else []), "task"):
        grid.add_column(title, justify="right" if title in RIGHT else "left", no_wrap=title != "task")
    for name, host in recap.hosts.items():
        elapsed = f"{recap.clock() - host.since:.0f}" if host.state == "running" and host.since else ""
        task = f"waits: {host.waits_for}" if host.waits_for else host.task
        counts = str(host.ok), str(host.changed)
        grid.add_row(name, _state(host), *counts, host.role, *([elapsed] if runs else []), Text(task[:70]))
    return grid


def _state(host: HostRecap) -> str:
    style = STYLES.get(host.state)
    return f"[{style}]{host.state}[/]" if style else host.state
