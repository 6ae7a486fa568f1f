"""What a finished step says in figures, from the files that ms-swift and EvalScope write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpulab.inside.answers import answers_in, exact_match, rows
from gpulab.inside.benched import levels
from gpulab.inside.evaluated import scores


def training_log(out: Path) -> list[dict[str, Any]]:
    """The rows of ms-swift's logging.jsonl that carry a loss, in order; empty where there is none."""
    log = out / "logging.jsonl"
    return [row for row in rows(log) if "loss" in row] if log.is_file() else []


def step_counter(row: dict[str, Any]) -> tuple[int, int] | None:
    """(step, of how many) from a row's "global_step/max_steps"; Megatron's rows call it "iteration"."""
    match = re.fullmatch(r"(\d+)/(\d+)", str(row.get("global_step/max_steps", row.get("iteration", ""))))
    return (int(match[1]), int(match[2])) if match else None


def parameters(out: Path) -> tuple[float, float] | None:
    """(all, trainable) parameters in millions, as ms-swift counted them."""
    log = out / "logging.jsonl"
    if not log.is_file():
        return None
    for row in rows(log):
        match = re.search(r"([\d.]+)M Params \(([\d.]+)M Trainable", str(row.get("model_parameter_info", "")))
        if match:
            return float(match[1]), float(match[2])
    return None


def series(out: Path, name: str) -> list[float]:
    """The values of a figure in a step's logging.jsonl, in order; empty where there is none."""
    log = out / "logging.jsonl"
    values = [row.get(name) for row in rows(log)] if log.is_file() else []
    return [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]


def weights_bytes(out: Path) -> int:
    """What a model's weights in a step's folder weigh."""
    return sum(file.stat().st_size for file in out.rglob("*.safetensors"))


def metrics(out: Path, figures: Iterable[str] = ()) -> dict[str, Any]:
    """The figures of one step's folder; only those that it has. `figures`: further ones of its logging.jsonl, of which
    the last value counts."""
    found: dict[str, Any] = {}
    if logged := {name: values[-1] for name in figures if (values := series(out, name))}:
        found["figures"] = logged
    losses = training_log(out)
    if losses:
        found |= {"loss_first": losses[0]["loss"], "loss_last": losses[-1]["loss"]}
        if counter := step_counter(losses[-1]):
            found["steps"] = counter[0]
        if "token_acc" in losses[-1]:
            found["token_acc"] = losses[-1]["token_acc"]
    if counts := parameters(out):
        found |= {"parameters_m": counts[0], "trainable_m": counts[1]}
    elif weight := weights_bytes(out):
        found["weights_mib"] = round(weight / 2**20, 3)
    answers = answers_in(out)
    if answers:
        found["answers"] = len(answers)
        if (match := exact_match(answers)) is not None:
            found["exact_match"] = round(match, 4)
    if scored := scores(out):
        found["scores"] = scored
    if benched := levels(out):
        found["bench"] = benched
    return found
