"""How far a share or a mean that was measured on few may be from that of all: 95 % intervals, standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

Z = NormalDist().inv_cdf(0.975)


def wilson(right: float, of: int) -> tuple[float, float]:
    """Of a share: Wilson's score interval, which holds for few questions and near 0 and 1, too."""
    share, spread = right / of, Z * Z / of
    middle = (share + spread / 2) / (1 + spread)
    half = Z * (share * (1 - share) / of + spread / (4 * of)) ** 0.5 / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def of_scores(values: Sequence[float]) -> tuple[float, float] | None:
    """Of scores from 0 to 1, right or wrong among them alone or not; None where one value says nothing of a spread."""
    if set(values) <= {0, 1}:
        return wilson(sum(values), len(values))
    if len(values) < 2:
        return None
    mean, half = fmean(values), Z * stdev(values) / len(values) ** 0.5
    return max(0.0, mean - half), min(1.0, mean + half)
