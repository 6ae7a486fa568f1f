"""The phrases of lab.yaml and the functions that prove them: how they are found, asked, and told what to look at."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finished:
    """What a proof may look at: the step's folder and log, the folders of the steps before it, how many processes were
    to train."""

    out: Path
    log: Path
    run: Path
    model: str
    world: int = 1

    @property
    def ranks(self) -> list[dict[str, Any]]:
        """What each rank wrote down of itself (rank_report.py), by rank."""
        files = sorted((self.out / "ranks").glob("*.json"), key=lambda f: int(f.stem))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    @property
    def base(self) -> Path:
        """The folder of the model that was trained: ms-swift's args.json names it; else the run's model."""
        return Path(self.model if self.args is None else self.args["model_dir"])

    @cached_property
    def args(self) -> dict[str, Any] | None:
        """ms-swift's args.json: its settings after every default and file was read. None where there is none."""
        for file in (self.out / "args.json", *sorted(self.out.glob("*/args.json"))):
            if file.is_file():
                found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
                return found
        return None


class Unproven(Exception):
    """The evidence is missing or says no; the message is the evidence."""


Prove = Callable[..., str]
PROOFS: dict[str, Prove] = {}


def proof(phrase: str) -> Callable[[Prove], Prove]:
    """Register a proof. What stands in the blanks of its phrase (BLANKS) comes to the function as arguments.

    Raises ValueError for a phrase that another proof has or would answer: one of them would win unseen.
    """

    def register(function: Prove) -> Prove:
        for known in PROOFS:
            if _pattern(known).fullmatch(_example(phrase)) or _pattern(phrase).fullmatch(_example(known)):
                raise ValueError(f"two proofs under one phrase: {phrase!r} and {known!r}")
        PROOFS[phrase] = function
        return function

    return register


# A blank of a phrase -> what may stand there. N% is a share.
BLANKS = {
    "N%": r"(?P<share>\d+(?:\.\d+)?)%",
    "STEP": r"(?P<step>[\w-]+)",
    "NUMBER": r"(?P<number>-?\d+(?:\.\d+)?(?:e-?\d+)?)",
    "NAME": r"(?P<name>[\w/.@-]+)",
    "KEY=VALUE": r"(?P<key>\w+)=(?P<value>.+)",
    "TEXT": r"(?P<text>.+)",
}


@cache
def _pattern(phrase: str) -> re.Pattern[str]:
    words = (BLANKS.get(word, re.escape(word)) for word in re.split(f"({'|'.join(BLANKS)})", phrase))
    return re.compile("".join(words))


def _example(phrase: str) -> str:
    return phrase.replace("N%", "1%").replace("NUMBER", "1")  # the other blanks' names stand for themselves


def find(phrase: str) -> tuple[Prove, dict[str, Any]] | None:
    """The proof of a phrase and its arguments; None for an unknown one."""
    for known, function in PROOFS.items():
        if match := _pattern(known).fullmatch(phrase):
            found: dict[str, Any] = match.groupdict()
            if "share" in found:
                found["share"] = float(found["share"]) / 100
            if "number" in found:
                found["number"] = float(found["number"])
            return function, found
    return None


def with_step(phrase: str, names: Mapping[str, str]) -> str:
    """The phrase about another step, where it is about one of `names`."""
    for known in PROOFS:
        match = _pattern(known).fullmatch(phrase)
        if match and names.get(step := match.groupdict().get("step", "")):
            return phrase[: match.start("step")] + names[step] + phrase[match.end("step") :]
    return phrase


def prove(phrase: str, finished: Finished) -> tuple[bool, str]:
    """(whether it holds, the evidence in a line). It does not hold where evidence is missing or breaks it."""
    found = find(phrase)
    if not found:
        raise KeyError(phrase)
    function, arguments = found
    try:
        return True, function(finished, **arguments)
    except Unproven as error:
        return False, str(error)
    except (OSError, KeyError, ValueError, IndexError) as error:
        return False, f"no evidence: {type(error).__name__}: {error}"
    except Exception as error:
        return False, f"could not be decided: {type(error).__name__}: {' '.join(str(error).split())}"
