"""From what a program said to what is wrong and what helps, by the tables in known_failures/."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gpulab.common.failure import Failure
from gpulab.common.yamlfile import load

TABLES = Path(__file__).with_name("known_failures")


@dataclass(frozen=True)
class Known:
    """One entry of a table. `{name}` in its message and cure is a group of the pattern, or what the caller knows."""

    pattern: str
    message: str
    example: str
    """What a program really said, and this entry is to be found by: a test tries it."""
    cure: str = ""
    line: str = ""
    """Only for files that a user writes: the pattern of the line that is meant."""


@cache
def known_failures(table: str) -> tuple[Known, ...]:
    """The entries of known_failures/TABLE.yml; the first that matches is taken."""
    return tuple(Known(**entry) for entry in load(TABLES / f"{table}.yml"))


def find(text: str, table: str) -> tuple[Known, dict[str, str]] | None:
    """The first entry that matches, and what its pattern's groups caught."""
    for known in known_failures(table):
        if match := re.search(known.pattern, text):
            return known, {name: caught or "" for name, caught in match.groupdict().items()}
    return None


def diagnose(text: str, table: str, **names: object) -> Failure | None:
    """What `text` means, where that is known; `names` fill the entry's message and cure."""
    found = find(text, table)
    if not found:
        return None
    known, caught = found
    words = {**names, **caught}
    return Failure(known.message.format(**words), known.cure.format(**words))


HINT = re.compile(r"(Run|See) 'docker .*--help'")  # docker's own last word, whatever went wrong


def last_line(text: str, otherwise: str) -> str:
    """The last line that says something, for what no table knows."""
    lines = [line for line in text.strip().splitlines() if line.strip() and not HINT.match(line)]
    return lines[-1] if lines else otherwise
