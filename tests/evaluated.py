"""What EvalScope leaves of an evaluation, and of a load test."""

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


def vllm_benchmark(out: Path, concurrency: int, failed: int = 0, tokens: float = 80) -> None:
    """What `vllm bench serve` writes of 16 requests: of a dead server, too."""
    said: dict[str, float] = {
        "max_concurrency": concurrency, "num_prompts": 16, "completed": 16 - failed, "failed": failed,
        "request_throughput": tokens / 8, "output_throughput": tokens, "total_output_tokens": 8 * (16 - failed),
    }  # fmt: skip
    for n in (50, 90, 99):
        said |= {f"p{n}_ttft_ms": n, f"p{n}_tpot_ms": n / 10, f"p{n}_e2el_ms": n * 10}
    out.mkdir(parents=True, exist_ok=True)
    (out / f"vllm_bench_{concurrency}.json").write_text(json.dumps(said))


def benchmark(out: Path, concurrency: int, failed: int = 0, tokens: float = 80) -> None:
    """Write what was measured of 16 requests at one level of concurrency."""
    folder = out / "tiny" / f"parallel_{concurrency}_number_16"
    folder.mkdir(parents=True)
    said = {"Concurrency": concurrency, "Total Requests": 16, "Success Requests": 16 - failed,
            "Failed Requests": failed, "Req Throughput (req/s)": tokens / 8, "Output Throughput (tok/s)": tokens,
            "Avg Output Tokens": 8}  # fmt: skip
    (folder / "benchmark_summary.json").write_text(json.dumps(said))
    rows = [{"Percentiles": f"{n}%", "TTFT (ms)": n, "TPOT (ms)": n / 10, "Latency (s)": n / 100} for n in (50, 90, 99)]
    (folder / "benchmark_percentile.json").write_text(json.dumps(rows))
