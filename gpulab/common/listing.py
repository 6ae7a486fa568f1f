"""A table that fits the terminal: one column gives way on a narrow one."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Table


def listing(*columns: str, wraps: str) -> Table:
    """An empty table in which one column gives way on a narrow terminal."""
    table = Table(box=SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column != wraps)
    return table
