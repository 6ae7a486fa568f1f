"""A run's curves as plain data: what its steps logged while they trained, and what the run used over time."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.inside.answers import rows
from gpulab.inside.metrics import step_counter
from gpulab.records.record import RunRecord

MOST = 800  # points of a curve: more than a screen shows
MEMORY, LOAD = "GiB", "%"
# What is sampled: its column, how people call it, its unit, and what the column is divided by for it.
SAMPLED = {
    "rss_mib": ("memory (RSS)", MEMORY, 1024), "gpu_mib": ("GPU memory", MEMORY, 1024),
    "cpu_percent": ("CPU (100 = one core)", LOAD, 1), "gpu_percent": ("GPU", LOAD, 1),
}  # fmt: skip
# ms-swift logs these beside its figures; they are counters, or the resources that are sampled anyway.
NO_FIGURE = ("epoch", "memory(GiB)", "train_speed(iter/s)", "train_speed(s/it)", "iteration", "consumed_samples")
RUNTIME = ("_runtime", "_per_second", "_flos", "_time")  # how the name of a total ends


@dataclass
class Curve:
    """One line: its name, and where it goes."""

    label: str
    x: list[float]
    y: list[float]


@dataclass
class Span:
    """A stretch of the run's time, and the step that ran in it."""

    step: str
    start: float
    end: float


def training(folder: Path, record: RunRecord) -> dict[str, list[Curve]]:
    """Every figure that the steps logged more than once, the loss first: a curve for each step that logged it."""
    found: dict[str, list[Curve]] = {}
    for step in record.steps:
        for name, points in _logged(folder / step.step).items():
            if len(points) > 1:
                xs, ys = zip(*thinned(points), strict=True)
                found.setdefault(name, []).append(Curve(step.step, list(xs), list(ys)))
    named = [name for step in record.steps for name in step.metrics.get("figures", {})]
    return {name: found[name] for name in dict.fromkeys(["loss", *named, *found]) if name in found}


def _logged(out: Path) -> dict[str, list[tuple[float, float]]]:
    """(step, value) of each figure in a step's logging.jsonl."""
    found: dict[str, list[tuple[float, float]]] = {}
    log = out / "logging.jsonl"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for number, row in enumerate(rows(log) if log.is_file() else [], 1):
            counter = step_counter(row)
            for name, value in row.items():
                number_like = isinstance(value, (int, float)) and not isinstance(value, bool)
                if number_like and name not in NO_FIGURE and not name.endswith(RUNTIME):
                    found.setdefault(name, []).append((counter[0] if counter else number, float(value)))
    return found


def thinned(points: Sequence[Any], most: int = MOST) -> list[Any]:
    """At most about `most` of the points, evenly, the last one among them."""
    stride = -(-len(points) // most) or 1
    kept = list(points[::stride])
    return kept if not points or kept[-1] is points[-1] else [*kept, points[-1]]


def resources(folder: Path) -> tuple[dict[str, list[Curve]], list[Span]]:
    """What the run used, by unit (GPU's only where there was one), and its steps' spans. Of many samples each point is
    the highest of its stretch: a peak stays."""
    samples = list(_samples(folder / "resources.csv"))
    spans: list[Span] = []
    for second, step, _ in samples:
        if not spans or spans[-1].step != step:
            if spans:
                spans[-1].end = second
            spans.append(Span(step, second, second))
        spans[-1].end = second
    size = -(-len(samples) // MOST) or 1
    groups = [samples[at : at + size] for at in range(0, len(samples), size)]
    curves: dict[str, list[Curve]] = {}
    for name, (label, unit, divisor) in SAMPLED.items() if len(samples) > 1 else []:
        values = [round(max(values[name] for _, _, values in group) / divisor, 3) for group in groups]
        if not name.startswith("gpu") or any(values):
            curves.setdefault(unit, []).append(Curve(label, [group[0][0] for group in groups], values))
    return curves, spans


def _samples(file: Path) -> Iterator[tuple[float, str, dict[str, float]]]:
    """(seconds, step, values) of each sample; a torn line is passed over."""
    with contextlib.suppress(OSError), file.open(encoding="utf-8", errors="replace", newline="") as stream:
        for row in csv.DictReader(stream):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                yield float(row["seconds"]), row["step"], {name: float(row[name]) for name in SAMPLED}
