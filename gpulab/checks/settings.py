"""Proofs of what ran: the settings that ms-swift itself wrote down, after every default and file was read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpulab.checks.registry import Finished, Unproven, proof


@proof("args say KEY=VALUE")
def args_say(finished: Finished, key: str, value: str) -> str:
    """ms-swift's args.json has this value: a step called dpo that trains by another algorithm does not hold."""
    args = arguments(finished.out)
    if key not in args:
        raise Unproven(f"args.json knows no {key}")
    if not _equal(args[key], value):
        raise Unproven(f"args.json says {key}={_said(args[key])}")
    return f"args.json says {key}={_said(args[key])}"


def arguments(out: Path) -> dict[str, Any]:
    """The args.json of a step's folder. Raises Unproven where there is none."""
    for file in (out / "args.json", *sorted(out.glob("*/args.json"))):
        if file.is_file():
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return found
    raise Unproven("no args.json")


def _equal(said: Any, wanted: str) -> bool:
    if isinstance(said, (int, float)) and not isinstance(said, bool):
        try:
            return float(said) == float(wanted)
        except ValueError:
            return False
    return _said(said) == wanted


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
