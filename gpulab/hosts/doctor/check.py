"""What a check of the doctor is: a few words, and a function from what a machine is to what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

State = dict[str, Any]
"""What inside/machine found, and `lab`: how many hosts there are, what the pins say, the stacks without a lock, what
the lab's own environments do without."""


@dataclass(frozen=True)
class Finding:
    """`sick` is a problem, `note` something to know, `well` what was looked at and found right."""

    state: Literal["sick", "note", "well"]
    evidence: str


Look = Callable[[State], Finding | None]
"""None: there is nothing of that kind on this machine."""


@dataclass(frozen=True)
class Check:
    """One known problem."""

    id: str
    problem: str
    cure: str
    issues: str
    look: Look


CHECKS: list[Check] = []


def check(id: str, problem: str, cure: str, issues: str = "") -> Callable[[Look], Look]:
    """Make a check of the function below; `issues` are ms-swift's unless another project is named."""

    def add(look: Look) -> Look:
        CHECKS.append(Check(id, problem, cure, issues, look))
        return look

    return add


def sick(evidence: str) -> Finding:
    """A problem."""
    return Finding("sick", evidence)


def well(evidence: str) -> Finding:
    """Looked at, and right."""
    return Finding("well", evidence)


def note(evidence: str) -> Finding:
    """Something to know; no problem by itself."""
    return Finding("note", evidence)


def verdict(problems: list[str], fine: str) -> Finding:
    """Sick with all the problems, or well."""
    return sick("; ".join(problems)) if problems else well(fine)


def version(text: str) -> tuple[int, ...]:
    """The numbers of a version, to compare: `2.8.3.post1` is (2, 8, 3)."""
    numbers = []
    for part in text.split("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
