"""What EvalScope leaves of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def evaluation(
    out: Path, values: list[float], name: str = "general_qa", said: str = "Melvik", error: str | None = None,
    status: str = "success", metadata: dict[str, Any] | None = None, number: int | None = None,
) -> None:  # fmt: skip
    """Write a report with a review and a prediction for each value."""
    identity = {"name": "rouge", "aggregation": "mean", "dimensions": {}}
    mean = sum(values) / len(values)
    report = {"dataset_name": name, "primary_metric_identity": identity,
              "metrics": [{"identity": identity, "num": number or len(values), "score": mean}]}  # fmt: skip
    score = {"main_score_name": "Rouge-L-R", "status": status, "metadata": metadata or {}, "prediction": said}
    reviews = [
        {"target": "Melvik", "messages": [{"role": "user", "content": f"question {n}"}],
         "sample_score": {"score": {**score, "value": {"Rouge-L-R": value}, "extracted_prediction": said}}}
        for n, value in enumerate(values)
    ]  # fmt: skip
    predictions = [{"model_output": {"error": error}} for _ in values]
    for kind, lines in {"reviews": reviews, "predictions": predictions}.items():
        file = out / kind / "tiny" / f"{name}_capitals.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    file = out / "reports" / "tiny" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report))
