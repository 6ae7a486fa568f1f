"""What bare `./inv` prints: the verbs by what one wants to do, a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from invoke.tasks import Task

ENDING = "Begin with `./inv lab quickstart`. `./inv --help VERB` explains one."


def summary(verb: Task[Any]) -> str:
    """The first line of a verb's docstring."""
    return (verb.__doc__ or "").strip().splitlines()[0]


def overview(groups: Mapping[str, Sequence[Task[Any]]]) -> str:
    """The groups with their verbs; no line is longer than 80 columns."""
    width = max(len(verb.name) for verbs in groups.values() for verb in verbs)
    lines: list[str] = []
    for title, verbs in groups.items():
        lines += [title, *(f"  {verb.name:{width}}  {summary(verb)}" for verb in verbs), ""]
    return "\n".join([*lines, ENDING])
