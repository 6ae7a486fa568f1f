"""Proofs of what ran: the settings that ms-swift itself wrote down, after every default and file was read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gpulab.checks.registry import Finished, Unproven, proof


@proof("args say KEY=VALUE")
def args_say(finished: Finished, key: str, value: str) -> str:
    """ms-swift's args.json has this value: a step called dpo that trains by another algorithm does not hold."""
    args = finished.args
    if args is None:
        raise Unproven("no args.json")
    if key not in args:
        raise Unproven(f"args.json knows no {key}")
    if not _equal(args[key], value):
        raise Unproven(f"args.json says {key}={_said(args[key])}")
    return f"args.json says {key}={_said(args[key])}"


@proof("inference by NAME")
def inference_by(finished: Finished, name: str) -> str:
    """The backend that `swift infer` or `swift deploy` has of all its settings: it loads that engine or none. These two
    write no args.json."""
    log = finished.log.read_text(encoding="utf-8", errors="replace")
    said = re.findall(r"args: (?:Infer|Deploy)Arguments\(.*\binfer_backend='(\w+)'", log)
    if not said or set(said) != {name}:
        raise Unproven(f"the log names {', '.join(sorted(set(said))) or 'no backend'}")
    return f"the log says infer_backend={name}"


@proof("data cached by STEP")
def data_cached(finished: Finished, step: str) -> str:
    """The training's data is what an earlier step made into tokens, and nothing else."""
    args = finished.args or {}
    cached, other = args.get("cached_dataset") or [], args.get("dataset") or []
    made = finished.run / step
    if not cached or other or not all(Path(folder).is_relative_to(made) for folder in cached):
        raise Unproven(f"args.json says cached_dataset={_said(cached)} and dataset={_said(other)}")
    return f"the data is {', '.join(str(Path(folder).relative_to(made)) for folder in cached)} of {step}"


def _equal(said: Any, wanted: str) -> bool:
    if isinstance(said, (int, float)) and not isinstance(said, bool):
        try:
            return float(said) == float(wanted)
        except ValueError:
            return False
    return _said(said) == wanted


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
