"""What `./inv --help VERB` prints: how a verb is called, what it does, its options in their declared order."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from invoke.tasks import Task

from gpulab.verbs.options import Option

WIDEST = 100  # columns, as far as eyes follow a line


def help_page(verb: Task[Any], options: Sequence[Option]) -> str:
    """The page, as wide as the terminal."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    words = [option.name.upper() for option in options if option.default is None]
    words += [f"[{option.name.upper()}]" for option in options if option.by_place]
    first = max(len(called(option)) for option in options)
    fill = textwrap.TextWrapper(
        width, subsequent_indent=" " * (first + 4), break_long_words=False, break_on_hyphens=False
    ).fill
    said = [textwrap.fill(part, width) for part in (inspect.getdoc(verb) or "").split("\n\n")]
    rows = [fill(f"  {called(option):{first}}  {explanation(option)}") for option in options]
    return "\n".join([" ".join(["./inv", verb.name, *words, "[options]"]), "", *said, "", *rows])


def called(option: Option) -> str:
    """How an option is written on the command line."""
    name = option.name.strip("_")  # from_, which Python has a meaning for
    if option.default is None:
        return name.upper()
    flag = f"--{name.replace('_', '-')}"
    if isinstance(option.default, bool):
        return flag
    return f"{flag} {'N' if isinstance(option.default, int | float) else name.upper()}"


def explanation(option: Option) -> str:
    """Its help, with the default where it has one, and whether it may be given again."""
    usual = option.default if isinstance(option.default, str | int | float) else ""
    if usual and "usual" not in option.help:
        return f"{option.help}; usual is {usual}"
    return f"{option.help}; may be given again" if option.default == [] else option.help
