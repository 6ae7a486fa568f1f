"""What one sees while a lab runs: the steps, ms-swift's own step counter and loss, how long it takes."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from gpulab.inside.metrics import step_counter, training_log
from gpulab.plan.plan import Command

QUIET = 15.0  # seconds between two lines of training progress where there is no terminal to redraw


class Watch:
    """A live line for the running step on a terminal; elsewhere (a log, CI) plain lines."""

    def __init__(self, console: Console, steps: list[str]) -> None:
        self._console = console
        self._live = console.is_terminal
        self._width = max(map(len, steps))
        self._count = len(steps)
        self._done = 0
        self._began = self._said = self._looked = 0.0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._size = -1

    def __enter__(self) -> Watch:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(f"  {text}")

    def start(self, step: str) -> None:
        """A step begins."""
        self._began = self._said = time.monotonic()
        self._looked, self._size = 0.0, -1
        self._done += 1
        title = f"[bold]{escape(step):{self._width}}[/] {self._done}/{self._count}"
        self._task = self._progress.add_task(title, total=None, detail="")

    def look(self, command: Command) -> None:
        """Show how far ms-swift says it is, twice a second at most; re-reads logging.jsonl only when it grew."""
        moment = time.monotonic()
        log = command.out / "logging.jsonl"
        if moment - self._looked < 0.5 or not log.is_file():
            return
        self._looked = moment
        size = log.stat().st_size
        if size == self._size:
            return
        self._size = size
        losses = training_log(command.out)
        if losses:
            self._show(command, losses[-1])

    def _show(self, command: Command, row: dict[str, Any]) -> None:
        counter = step_counter(row)
        left = row.get("remaining_time")
        detail = f"loss {row['loss']:.4g}" + (f", {left} left" if left else "")
        if self._live and self._task is not None:
            total, done = (counter[1], counter[0]) if counter else (None, 0)
            self._progress.update(self._task, total=total, completed=done, detail=detail)
        elif time.monotonic() - self._said >= QUIET:
            self._said = time.monotonic()
            step = f"step {counter[0]}/{counter[1]} " if counter else ""
            self._console.print(f"  {command.step:{self._width}} {step}{detail}")

    def lines(self, lines: list[str]) -> None:
        """What the nodes of a spread step say, as it comes."""
        for line in lines:
            self._console.print(f"  {line}", markup=False, style="dim", soft_wrap=True)

    def end(self, step: str, ok: bool, detail: str) -> None:
        """A step ended: its line stays."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        mark = "[green]✓[/]" if ok else "[red]✗[/]"
        seconds = time.monotonic() - self._began
        self._console.print(f"{mark} [bold]{escape(step):{self._width}}[/] {seconds:6.1f} s  {escape(detail)}")
