"""`inv eval` with the real EvalScope and a stand-in for the model: scores that are known, and none of a failing server.

In the stack `cpu`, which the other rehearsals need anyway; its EvalScope is that of `eval`.
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gpulab.common.paths import LABS
from gpulab.records.read import find_run, read
from gpulab.runs import measure
from gpulab.runs.evaluate import evaluate
from tests.openai_server import serving

QUESTIONS = [json.loads(line) for line in (LABS / "common/data/choice/capitals_val.jsonl").read_text().splitlines()]
RIGHT = {row["question"]: row["answer"] for row in QUESTIONS}


@pytest.fixture(autouse=True)
def known_stack(shared: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPULAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(measure, "STACK", "cpu")


def asked(url: str) -> Any:
    return evaluate(url, "choice", 8, "", 16, "modelscope", [])


def letter(request: dict[str, Any]) -> str:
    """The right letter of the first four questions, a wrong one of the others."""
    text = request["messages"][-1]["content"]
    number, right = next(((n, RIGHT[q]) for n, q in enumerate(RIGHT) if q in text), (0, "A"))
    return f"ANSWER: {right if number < 4 else 'ABCD'['BCDA'.index(right)]}"


def test_the_score_is_what_was_right_and_the_key_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPULAB_API_KEY", "sesame-open")
    with serving(letter, key="sesame-open") as url:
        outcome = asked(url)
    assert not outcome.failures, outcome.failures
    folder = find_run("last")
    assert read(folder).metrics["eval"]["scores"]["general_mcq accuracy"] == {
        "score": 0.5, "interval": [0.2152, 0.7848], "n": 8,
    }  # fmt: skip
    assert (folder / "eval/reports/report.html").stat().st_size > 1000
    told = [file for file in folder.rglob("*") if file.is_file() and b"sesame-open" in file.read_bytes()]
    assert told == []


@pytest.mark.parametrize("wrong", [500, 0])
def test_a_server_that_fails_under_way_is_a_failure_without_a_score(wrong: int) -> None:
    served = count()
    with serving(lambda request: letter(request) if next(served) < 3 else wrong) as url:
        outcome = asked(url)
    assert outcome.failures
    record = read(find_run("last"))
    assert record.state == "failed" and "scores" not in record.metrics.get("eval", {})
