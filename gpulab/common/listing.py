"""Tables and pages that fit the terminal: what gives way on a narrow one breaks between words."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text


def listing(*columns: str, wraps: str) -> Table:
    """An empty table in which one column gives way on a narrow terminal."""
    table = Table(box=SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column != wraps)
    return table


def lines(*columns: str, wraps: str = "") -> Table:
    """An empty table of few spaces, for a line a row; `wraps` is a column that may take several."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column != wraps)
    return table


def facts(rows: Mapping[str, str | Text]) -> Table:
    """A page about one thing: a name and what there is to say, in two columns. Rows without a text are left out."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in rows.items():
        if text:
            table.add_row(name, Text(text) if isinstance(text, str) else text)
    return table
