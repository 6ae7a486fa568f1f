"""A step's name: it is a folder of the run, a log, a container, and what other steps refer to it by."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
TAKEN = {
    "logs",
    "trace",
    "twin",
    "twins",
    "stack",
    "speaks",
    "impossible",
}  # the run's folder, rehearse's keys


def wrong_name(name: str, spreads: Mapping[str, bool], placeholders: Container[str]) -> str | None:
    """Why no step can be called so. `spreads`: which steps run on several nodes; `placeholders`: what stands for
    something else in a `run:` line."""
    if not NAME.fullmatch(name):
        return "a name has small letters, digits, _ and -, begins with a letter, and is 40 long at most"
    if name in TAKEN or name.startswith("twin-") or name in placeholders:
        return "the name has a meaning already"
    first, _, rank = name.rpartition("-")
    if rank.isdigit() and spreads.get(first):
        return f"node {rank} of the step {first} has that name"
    return None
