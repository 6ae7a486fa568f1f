"""What a load generator measured, EvalScope's or vLLM's own, one level of concurrency after the other. Warm-up is not
in its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FIGURES = {"req/s": "Req Throughput (req/s)", "tokens/s": "Output Throughput (tok/s)",
           "tokens/answer": "Avg Output Tokens"}  # fmt: skip
SPREAD = {"TTFT ms": "TTFT (ms)", "TPOT ms": "TPOT (ms)", "latency s": "Latency (s)"}
VLLM_SPREAD = {"TTFT ms": ("ttft", 1), "TPOT ms": ("tpot", 1), "latency s": ("e2el", 1000)}
PERCENTILES = {"p50": "50%", "p90": "90%", "p99": "99%"}


def levels(out: Path) -> dict[str, dict[str, float]]:
    """By concurrency: requests, those that failed, throughput, and of each time its percentiles. Times and throughput
    only where a request was answered."""
    found = {}
    for file in out.glob("**/vllm_bench*.json"):
        said = json.loads(file.read_text(encoding="utf-8"))
        found[said["max_concurrency"]] = _of_vllm(said)
    for file in out.glob("**/parallel_*_number_*/benchmark_summary.json"):
        said = json.loads(file.read_text(encoding="utf-8"))
        level: dict[str, float] = {"requests": said["Total Requests"], "failed": said["Failed Requests"]}
        if said["Success Requests"]:
            level |= {name: said[key] for name, key in FIGURES.items()}
            level |= _percentiles(file.with_name("benchmark_percentile.json"))
        found[said["Concurrency"]] = level
    return {str(concurrency): found[concurrency] for concurrency in sorted(found)}


def _of_vllm(said: dict[str, Any]) -> dict[str, float]:
    """What `vllm bench serve` wrote, under EvalScope's names. It ends well with a dead server, too."""
    asked, answered = said["num_prompts"], said["completed"]
    level: dict[str, float] = {"requests": asked, "failed": asked - answered}
    if answered:
        level |= {"req/s": said["request_throughput"], "tokens/s": said["output_throughput"]}
        level["tokens/answer"] = said["total_output_tokens"] / answered
        for time, (key, unit) in VLLM_SPREAD.items():
            level |= {f"{time} {name}": said[f"{name}_{key}_ms"] / unit for name in PERCENTILES}
    return level


def _percentiles(file: Path) -> dict[str, float]:
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    by = {row["Percentiles"]: row for row in rows}
    return {f"{time} {name}": by[percent][key] for time, key in SPREAD.items() for name, percent in PERCENTILES.items()}
