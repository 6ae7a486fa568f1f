"""The one console: people read standard output; with --json it holds one object and the talk goes to standard error."""

from __future__ import annotations

import sys

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


def talk_on_stderr() -> None:
    """From here on everything meant for people goes to standard error."""
    console.file = sys.stderr
