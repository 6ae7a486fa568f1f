"""A command's flags: what ms-swift knows, and how the lab adds its own to a command line."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gpulab.common.errors import nearest
from gpulab.common.paths import FLAGS
from gpulab.common.yamlfile import fault, load_mapping

Kind = str | list[str] | None  # int, float, bool; choices; None for any text
WHOLE, NUMBER = re.compile(r"[+-]?\d+"), re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf|nan", re.IGNORECASE)
SAYS_YES_OR_NO = {"yes", "true", "t", "y", "1", "no", "false", "f", "n", "0"}
OPEN = re.compile(r"\{[a-z][\w.-]*\}")  # a placeholder: its value is the plan's


@cache
def known_flags() -> dict[str, dict[str, Kind]]:
    """ms-swift's flags by command (`swift sft`), each with what values it takes."""
    data: dict[str, dict[str, Kind]] = json.loads(FLAGS.read_text(encoding="utf-8"))
    return data


def start(argv: Sequence[str]) -> int:
    """Where the command begins in `argv`: a launcher's own words (`torchrun --nnodes 2 ... swift sft`) stand before."""
    known = known_flags()
    return next((i for i in range(len(argv) - 1) if " ".join(argv[i : i + 2]) in known), 0)


def command(argv: Sequence[str]) -> str | None:
    """The ms-swift command of `argv` (`swift sft`), None for any other program."""
    at = start(argv)
    name = " ".join(argv[at : at + 2])
    return name if name in known_flags() else None


def config(argv: Sequence[str]) -> str | None:
    """The file with ms-swift's own flags in `argv` (`swift sft train.yaml`), None where there is none."""
    words = argv[start(argv) + 2 :]
    return words[0] if command(argv) and words and words[0].endswith((".yaml", ".yml")) else None


def check(argv: Sequence[str], flags: Mapping[str, Any], path: Path, where: Sequence[str | int]) -> None:
    """Raise UsageError with file and line for the first flag that the command does not know, or not with that value."""
    for flag, value in flags.items():
        if wrong := unknown(argv, flag) or impossible(argv, flag, value):
            raise fault(path, [*where, flag], *wrong)


def unknown(argv: Sequence[str], flag: str) -> tuple[str, str] | None:
    """(what is wrong, the cure) when the command of `argv` does not know `flag`.

    Of a program that is not ms-swift only the flags that stand in its command line are known.
    """
    name = command(argv)
    known = list(known_flags()[name] if name else given(argv))
    if flag in known:
        return None
    return f"{name or argv[0]} knows no flag {flag!r}", nearest(flag, known, listed="docker/flags.json" if name else "")


def impossible(argv: Sequence[str], flag: str, value: Any) -> tuple[str, str] | None:
    """(what is wrong, the cure) when ms-swift's own parser would refuse the flag's value. It is not in the message: a
    secret may have come under a wrong name."""
    name = command(argv)
    kind = known_flags()[name].get(flag) if name else None
    wrong = next((word for word in written(value) if not _fits(word, kind)), None)
    if wrong is None:
        return None
    said = f"{name} takes no such value of {flag!r}"
    if isinstance(kind, list):
        return said, nearest(wrong, kind)
    return said, {"int": "a whole number", "float": "a number", "bool": "true or false"}[str(kind)]


def _fits(word: str, kind: Kind) -> bool:
    if kind is None or OPEN.search(word):
        return True
    if isinstance(kind, list):
        return word in kind
    if kind == "bool":
        return word.lower() in SAYS_YES_OR_NO
    return bool((WHOLE if kind == "int" else NUMBER).fullmatch(word))


def given(argv: Sequence[str]) -> dict[str, list[str]]:
    """The command's flags that stand in `argv`, each with its values; a launcher's own are not among them."""
    return in_words(argv[start(argv) :])


def in_words(words: Sequence[str]) -> dict[str, list[str]]:
    """The flags that stand in these words, each with its values."""
    found: dict[str, list[str]] = {}
    name = None
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, _, value = word[2:].partition("=")
            found[name] = [value] if value else []
        elif name is not None:
            found[name].append(word)
    return found


def read(argv: Sequence[str], folder: Path) -> dict[str, Any]:
    """All flags of a command line: those of its own YAML, those on the line above them; one value or a list each."""
    found: dict[str, Any] = {}
    for before, word in itertools.pairwise(argv):
        if word.endswith((".yaml", ".yml")) and not before.startswith("--") and (folder / word).is_file():
            found = load_mapping(folder / word)
            break
    return found | {name: values[0] if len(values) == 1 else values for name, values in given(argv).items()}


def written(value: Any) -> list[str]:
    """A flag's value as command line words: lists are several words, mappings are JSON, booleans lower case."""
    if isinstance(value, list):
        return [word for item in value for word in written(item)]
    if isinstance(value, dict):
        return [json.dumps(value)]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def with_flags(argv: Sequence[str], flags: Mapping[str, Any]) -> list[str]:
    """`argv` with the command's `flags` set: one that stands in it is replaced where it stands, a new one goes to the
    end."""
    at = start(argv)
    words = list(argv[:at])
    left = dict(flags)
    skipping = False
    for word in argv[at:]:
        if word.startswith("--") and len(word) > 2:
            name = word[2:].partition("=")[0]
            skipping = name in flags
            if skipping:
                if name in left:
                    words += [f"--{name}", *written(left.pop(name))]
                continue
        elif skipping:
            continue
        words.append(word)
    for name, value in left.items():
        words += [f"--{name}", *written(value)]
    return words
