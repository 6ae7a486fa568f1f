"""How far transfers are: a bar for each on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from gpulab.common.console import console

QUIET = 15.0  # seconds between two lines about one transfer where there is no terminal to redraw


class Transfer:
    """One of them. `advance` counts bytes, `detail` says it in words."""

    def __init__(self, bars: Progress, name: str, total: int | None) -> None:
        self._bars, self._name, self._total = bars, name, total
        self._task = bars.add_task(escape(name), total=total, detail="")
        self._done = 0
        self._said = time.monotonic()

    def advance(self, count: int) -> None:
        """So many bytes more."""
        self._done += count
        self._bars.update(self._task, completed=self._done)
        self._now_and_then(decimal(self._done) + (f" of {decimal(self._total)}" if self._total else ""))

    def detail(self, words: str) -> None:
        """What it does now."""
        self._bars.update(self._task, detail=words)
        self._now_and_then(words)

    def end(self) -> None:
        """It is over."""
        self._bars.remove_task(self._task)

    def _now_and_then(self, words: str) -> None:
        if not self._bars.console.is_terminal and time.monotonic() - self._said > QUIET:
            self._said = time.monotonic()
            console.print(f"  {self._name}: {words}", markup=False)


class Transfers:
    """A context manager in which transfers show themselves, also from several threads."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn(),
            TransferSpeedColumn(), TextColumn("{task.fields[detail]}"), TimeElapsedColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip

    def __enter__(self) -> Transfers:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def one(self, name: str, total: int | None = None) -> Iterator[Transfer]:
        """A transfer that begins, and at the end says how long it took."""
        began = time.monotonic()
        transfer = Transfer(self._bars, name, total)
        try:
            yield transfer
        finally:
            transfer.end()
        console.print(f"[green]✓[/] {escape(name)} {time.monotonic() - began:.1f} s")
