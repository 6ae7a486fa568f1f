"""Proofs of what a training achieved, from the figures of its logging.jsonl."""

from __future__ import annotations

from collections.abc import Sequence

from gpulab.checks.registry import Finished, Unproven, proof
from gpulab.inside.answers import rows

NEAR = 0.02  # a first loss is that of an untouched model, to this share of it


@proof("loss starts at NUMBER")
def loss_starts(finished: Finished, number: float) -> str:
    """The first logged loss is the one that the algorithm gives an untouched model: DPO's is ln 2."""
    first = series(finished, "loss")[0]
    if not abs(first - number) <= NEAR * abs(number):
        raise Unproven(f"the first loss is {first:.4g}")
    return f"the first loss is {first:.4g}"


@proof("figure NAME rises")
def rises(finished: Finished, name: str) -> str:
    """The mean of the last quarter of its values is above that of the first quarter."""
    first, last, evidence = _quarters(finished, name)
    if not last > first:
        raise Unproven(evidence)
    return evidence


@proof("figure NAME falls")
def falls(finished: Finished, name: str) -> str:
    """The mean of the last quarter of its values is below that of the first quarter."""
    first, last, evidence = _quarters(finished, name)
    if not last < first:
        raise Unproven(evidence)
    return evidence


@proof("figure NAME reaches NUMBER")
def reaches(finished: Finished, name: str, number: float) -> str:
    """Its last value is at least that much."""
    last = series(finished, name)[-1]
    if not last >= number:
        raise Unproven(f"{name} ends at {last:.4g}")
    return f"{name} ends at {last:.4g}"


def series(finished: Finished, name: str) -> list[float]:
    """The values of a figure in logging.jsonl, in order. Raises Unproven, naming those that it has."""
    log = finished.out / "logging.jsonl"
    logged = [row for row in rows(log) if isinstance(row, dict)] if log.is_file() else []
    values = [float(row[name]) for row in logged if isinstance(row.get(name), (int, float))]
    if not values:
        known = sorted({key for row in logged for key, value in row.items() if isinstance(value, (int, float))})
        raise Unproven(f"logging.jsonl has no {name}; it has {', '.join(known) or 'no figures'}")
    return values


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """The means of the first and of the last quarter of values, one of each at least."""
    quarter = max(1, len(values) // 4)
    return sum(values[:quarter]) / quarter, sum(values[-quarter:]) / quarter


def _quarters(finished: Finished, name: str) -> tuple[float, float, str]:
    values = series(finished, name)
    if len(values) < 2:
        raise Unproven(f"{name} was logged once: {values[0]:.4g}")
    first, last = quarters(values)
    return first, last, f"{name} {first:.4g} -> {last:.4g} over {len(values)} logged values"
