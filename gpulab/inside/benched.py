"""What EvalScope's load generator measured, one level of concurrency after the other. Warm-up is not in its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FIGURES = {"req/s": "Req Throughput (req/s)", "tokens/s": "Output Throughput (tok/s)",
           "tokens/answer": "Avg Output Tokens"}  # fmt: skip
SPREAD = {"TTFT ms": "TTFT (ms)", "TPOT ms": "TPOT (ms)", "latency s": "Latency (s)"}
PERCENTILES = {"p50": "50%", "p90": "90%", "p99": "99%"}


def levels(out: Path) -> dict[str, dict[str, float]]:
    """By concurrency: requests, those that failed, throughput, and of each time its percentiles. Times and throughput
    only where a request was answered."""
    found = {}
    for file in out.glob("**/parallel_*_number_*/benchmark_summary.json"):
        said = json.loads(file.read_text(encoding="utf-8"))
        level: dict[str, float] = {"requests": said["Total Requests"], "failed": said["Failed Requests"]}
        if said["Success Requests"]:
            level |= {name: said[key] for name, key in FIGURES.items()}
            level |= _percentiles(file.with_name("benchmark_percentile.json"))
        found[said["Concurrency"]] = level
    return {str(concurrency): found[concurrency] for concurrency in sorted(found)}


def _percentiles(file: Path) -> dict[str, float]:
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    by = {row["Percentiles"]: row for row in rows}
    return {f"{time} {name}": by[percent][key] for time, key in SPREAD.items() for name, percent in PERCENTILES.items()}
