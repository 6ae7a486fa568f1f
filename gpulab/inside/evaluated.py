"""What EvalScope made of its questions: scores with intervals, and what of them is no score at all.

It ends with exit 0, and 0 % in its report, where a metric could not be calculated, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpulab.inside.answers import rows
from gpulab.inside.intervals import of_scores


def scores(out: Path) -> dict[str, dict[str, Any]]:
    """By data set and metric: score, 95 % interval, how many questions. Nothing where one of them was not scored."""
    found: dict[str, dict[str, Any]] = {}
    if troubles(out):
        return found
    for report in reports(out):
        name, primary = report["dataset_name"], primary_of(report)
        reviewed = [review["sample_score"]["score"] for review in reviews(out, report)]
        values = [float(score["value"][score["main_score_name"]]) for score in reviewed]
        found[f"{name} {primary['identity']['name']}"] = _figure(primary["score"], values)
        if not set(values) <= {0, 1}:  # how near the answers come; beside it, how many are right
            right = [_right(review) for review in reviews(out, report)]
            found[f"{name} exact match"] = _figure(sum(right) / len(right), right)
    return found


def troubles(out: Path) -> list[str]:
    """Why EvalScope's figures are none, in a line each; nothing where they stand."""
    found = [] if list(reports(out)) else ["EvalScope made no report"]
    for report in reports(out):
        name, number = report["dataset_name"], primary_of(report)["num"]
        reviewed = list(reviews(out, report))
        said = list(_of(out, "predictions", report))
        errors = sum(bool(one["model_output"].get("error")) for one in said)
        unscored = [r for r in reviewed if not _scored(r["sample_score"]["score"])]
        if errors:
            found.append(f"{name}: {errors} of {len(said)} requests failed")
        elif unscored:
            found.append(f"{name}: {len(unscored)} of {len(reviewed)} answers could not be scored")
        elif not number or not len(said) == len(reviewed) == number:
            found.append(f"{name}: {len(said)} answers, {len(reviewed)} of them reviewed, a score of {number}")
        elif not any(str(r["sample_score"]["score"]["prediction"]).strip() for r in reviewed):
            found.append(f"{name}: all of {len(reviewed)} answers are empty")
    return found


def reports(out: Path) -> Iterator[dict[str, Any]]:
    """EvalScope's report of each data set."""
    for file in sorted(out.glob("reports/*/*.json")):
        report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        yield report


def primary_of(report: dict[str, Any]) -> dict[str, Any]:
    """The metric that stands for its data set."""
    found: dict[str, Any] = next(m for m in report["metrics"] if m["identity"] == report["primary_metric_identity"])
    return found


def reviews(out: Path, report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each question of a report with its answer and what that is worth."""
    return _of(out, "reviews", report)


def _of(out: Path, kind: str, report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    names = [file.stem for file in out.glob("reports/*/*.json")]
    for file in sorted(out.glob(f"{kind}/*/*.jsonl")):
        if max((n for n in names if file.stem.startswith(f"{n}_")), key=len, default="") == report["dataset_name"]:
            yield from rows(file)  # mmlu_pro_math is mmlu_pro's, not mmlu's


def _scored(score: dict[str, Any]) -> bool:
    return score.get("status", "success") == "success" and not (score.get("metadata") or {}).get("metric_errors")


def _right(review: dict[str, Any]) -> float:
    target = review["target"]
    wanted = [str(one).strip() for one in (target if isinstance(target, list) else [target])]
    return float(str(review["sample_score"]["score"]["extracted_prediction"]).strip() in wanted)


def _figure(score: float, values: list[float]) -> dict[str, Any]:
    same = abs(sum(values) / len(values) - score) < 0.01  # a score that is no mean of theirs has no such interval
    interval = of_scores(values) if same else None
    return {"score": round(score, 4), "interval": interval and [round(end, 4) for end in interval], "n": len(values)}
