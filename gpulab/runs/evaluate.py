"""`inv eval`: EvalScope asks an endpoint the questions of data sets; what it scores is what users get."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gpulab.common.errors import UsageError, nearest
from gpulab.common.numbers import positive
from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS, shown
from gpulab.common.yamlfile import load_mapping
from gpulab.runs.endpoint import NotServed, reached
from gpulab.runs.measure import benchmarks, measure
from gpulab.runs.request import HUBS

OWN = LABS / "common" / "data" / "sets.yml"
MOST = 10_000_000
TIMEOUT = 300  # seconds for one answer; one that takes longer fails the evaluation


def evaluate(
    endpoint: str, datasets: str, limit: int, model: str, max_tokens: int, hub: str, settings: Sequence[str]
) -> Outcome:
    """Evaluate an endpoint. Raises UsageError before anything is asked where that can't be done."""
    positive("--limit", limit, MOST)
    positive("--max-tokens", max_tokens, MOST)
    if hub not in HUBS:
        raise UsageError(f"no hub {hub!r}", f"one of {', '.join(HUBS)}")
    names, arguments = chosen([name for name in datasets.replace(",", " ").split() if name])
    generation = {"temperature": 0, "max_tokens": max_tokens or 512, "timeout": TIMEOUT, "retries": 1}
    try:
        with reached(endpoint, model, settings) as asked:
            words = [
                "eval", "--model", asked.model, "--api-url", asked.url, "--eval-type", "openai_api",
                "--datasets", *names, "--dataset-args", json.dumps(arguments),
                "--dataset-hub", "huggingface" if hub == "hf" else "modelscope",
                "--generation-config", json.dumps(generation), "--work-dir", "{out}", "--no-timestamp",
                *(["--limit", str(limit)] if limit else []),
            ]  # fmt: skip
            return measure(
                "eval", f"{asked.model} asked {', '.join(names)} by EvalScope", asked, words,
                makes="reports/report.html", proves="every question scored", hub=hub,
                env={"HF_HUB_OFFLINE": "1" if set(names) <= set(arguments) else "0"},
            )  # fmt: skip
    except NotServed as error:
        return error.outcome


def chosen(names: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """EvalScope's benchmarks for these names, and its arguments for those of this project's own sets."""
    own: dict[str, dict[str, Any]] = load_mapping(OWN)
    if not names:
        raise UsageError("--datasets: which?", f"{','.join(own)} of {shown(OWN)}, or EvalScope's: gsm8k,mmlu")
    arguments: dict[str, Any] = {}
    found = []
    _check_known([name for name in names if name not in own], list(own))
    for name in names:
        about = dict(own.get(name, {"as": name}))
        found.append(about.pop("as"))
        if name in own:
            arguments[found[-1]] = {"local_path": str(OWN.parent / about.pop("folder")), **about}
    if double := next((name for name in found if found.count(name) > 1), None):
        raise UsageError(f"--datasets: {double} twice", "each once")
    return found, arguments


def _check_known(names: Sequence[str], own: list[str]) -> None:
    """EvalScope itself says only when a model is served that it lacks a benchmark."""
    known = benchmarks() if names else []
    if unknown := next((name for name in names if name not in known), None):
        cure = nearest(unknown, [*own, *known])
        raise UsageError(f"--datasets: EvalScope has no benchmark {unknown!r}", cure)
