"""EvalScope's scores: with intervals, of the right questions, none where one was not scored; its load tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpulab.inside.intervals import of_scores, wilson
from gpulab.inside.metrics import metrics
from gpulab.records.record import StepRecord
from gpulab.reports.summary import compared, figures
from tests.evaluated import benchmark, evaluation, vllm_benchmark


@pytest.mark.parametrize(
    ("right", "of", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
)
def test_a_shares_interval_is_wilsons(right: int, of: int, low: float, high: float) -> None:
    """Reference values: Newcombe, Statistics in Medicine 1998 (81 of 263), and the closed form at 0 and n."""
    assert wilson(right, of) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_scores_between_right_and_wrong_have_an_interval_about_their_mean() -> None:
    low, high = of_scores([0.2, 0.4, 0.6, 0.8]) or (0, 0)
    assert 0.2 < low < 0.5 < high < 0.8 and low + high == pytest.approx(1)
    assert of_scores([0.5]) is None, "one value says nothing of a spread"


def test_a_score_has_its_interval_and_stands_where_runs_are_compared(tmp_path: Path) -> None:
    evaluation(tmp_path, [1, 1, 0, 1])
    found = metrics(tmp_path)
    assert found["scores"] == {"general_qa rouge": {"score": 0.75, "interval": [0.3006, 0.9544], "n": 4}}
    assert "general_qa rouge 0.75 (0.301 to 0.954, 4 asked)" in figures(found)
    side = compared([StepRecord(step="eval", metrics=found)])
    assert [side[f"general_qa rouge{end}"] for end in ("", ", 95% from", ", 95% to")] == [0.75, 0.3006, 0.9544]


def test_beside_how_near_answers_come_stands_how_many_are_right(tmp_path: Path) -> None:
    evaluation(tmp_path, [0.5, 1, 1, 1])
    found = metrics(tmp_path)["scores"]
    assert found["general_qa exact match"]["score"] == 1 and found["general_qa rouge"]["score"] == 0.875


def test_each_answer_counts_for_its_own_set(tmp_path: Path) -> None:
    evaluation(tmp_path, [1], name="mmlu")
    evaluation(tmp_path, [0, 0], name="mmlu_pro")
    assert {name: one["n"] for name, one in metrics(tmp_path)["scores"].items()} == {
        "mmlu rouge": 1,
        "mmlu_pro rouge": 2,
    }


@pytest.mark.parametrize("wrong", [{"error": "500"}, {"status": "error"}, {"said": ""}, {"number": 9}])
def test_what_was_not_scored_is_no_score_of_zero(tmp_path: Path, wrong: dict[str, object]) -> None:
    evaluation(tmp_path, [0, 0], **wrong)  # type: ignore[arg-type]
    assert "scores" not in metrics(tmp_path)


def test_a_load_is_told_by_concurrency_with_its_percentiles_and_can_be_compared(tmp_path: Path) -> None:
    for concurrency in (16, 4):
        benchmark(tmp_path, concurrency)
    found = metrics(tmp_path)
    assert list(found["bench"]) == ["4", "16"], "in the order of the numbers, not of the letters"
    assert (found["bench"]["4"]["TTFT ms p99"], found["bench"]["4"]["TPOT ms p50"]) == (99, 5)
    assert compared([StepRecord(step="bench", metrics=found)])["tokens/s at 16"] == 80


def test_of_a_level_that_nobody_answered_nothing_but_the_count_is_told(tmp_path: Path) -> None:
    benchmark(tmp_path, 4, failed=16)
    assert metrics(tmp_path)["bench"] == {"4": {"requests": 16, "failed": 16}}


def test_the_two_load_generators_figures_stand_under_the_same_names(tmp_path: Path) -> None:
    benchmark(tmp_path / "evalscope", 4)
    vllm_benchmark(tmp_path / "vllm", 4)
    by_evalscope, by_vllm = (metrics(tmp_path / name)["bench"] for name in ("evalscope", "vllm"))
    assert by_evalscope == by_vllm
