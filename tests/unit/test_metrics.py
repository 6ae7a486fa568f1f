"""What a step left, read as answers (text, a class's number, a score) and as figures."""

from __future__ import annotations

import json

import pytest

from gpulab.inside.answers import answers_in, exact_match
from gpulab.inside.metrics import metrics
from gpulab.records.record import RunRecord, StepRecord
from gpulab.reports.curves import draw
from gpulab.reports.series import training


def result(folder, *pairs):
    rows = [{"response": said, "labels": wanted, "messages": [{"role": "user", "content": str(n)}]}
            for n, (said, wanted) in enumerate(pairs)]  # fmt: skip
    (folder / "infer_result.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_class_is_a_number_and_matched_as_one(tmp_path):
    out = result(tmp_path, (1, 1), (0, 1), ("1", 1))
    assert exact_match(answers_in(out)) == pytest.approx(2 / 3)
    assert metrics(out)["exact_match"] == 0.6667


@pytest.mark.parametrize("score", [0.731, [0.731]])
def test_a_score_is_no_answer_to_be_matched(tmp_path, score):
    out = result(tmp_path, (score, 1), (score, 0))
    assert exact_match(answers_in(out)) is None
    assert "exact_match" not in metrics(out) and metrics(out)["answers"] == 2


def test_what_has_no_label_has_no_right_answer(tmp_path):
    assert exact_match(answers_in(result(tmp_path, ("Melvik", None)))) is None


def test_a_labs_own_figures_are_the_last_that_were_logged(tmp_path):
    log = [{"loss": 1, "rewards/margins": 0.1}, {"rewards/margins": 0.7, "eval": True}, {"eval_loss": 2}]
    (tmp_path / "logging.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    found = metrics(tmp_path, ["rewards/margins", "eval", "none"])
    assert found["figures"] == {"rewards/margins": 0.7}


def test_curves_are_drawn_of_the_steps_that_logged_a_figure(tmp_path):
    for name, rows in {"train": [{"reward": 0.1}, {"reward": 0.4}], "infer": [], "once": [{"reward": 1}]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "logging.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = RunRecord.model_construct(
        run="a/1", profile="cpu", steps=[StepRecord(step=name) for name in ("train", "infer", "once", "gone")]
    )
    (curve,) = training(tmp_path, record)["reward"]
    assert (curve.label, curve.y) == ("train", [0.1, 0.4])
    draw(tmp_path, record, ["reward"])
    assert not (tmp_path / "curves.svg").exists(), "no loss and no samples: nothing to draw"
    (tmp_path / "train/logging.jsonl").write_text('{"loss": 2, "reward": 0.1}\n{"loss": 1, "reward": 0.4}\n')
    draw(tmp_path, record, ["reward"])
    assert "reward" in (tmp_path / "curves.svg").read_text() and "infer" not in (tmp_path / "curves.svg").read_text()
