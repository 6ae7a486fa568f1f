"""Cases of gpulab/checks/pictures.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import answers, vision
from tests.proof_cases import Cases

CASES: Cases = {
    "images became tokens": (
        [vision()],
        # dropped by the template; the tower ran for nothing; tokens without a picture; rows without one
        [
            [vision(pictures=0, places=0, grid=0)],
            [vision(embedded=128)],
            [vision(places=16)],
            [vision(rows=17)],
            [vision(pictures=0, places=0, grid=0, embedded=0)],
            [],
        ],
    ),
    "exact match at most 25%": (
        [answers("Melvik", "Tarn", "Tarn", "Tarn")],
        [[answers("Melvik", "Melvik", "Tarn", "Tarn")], [answers()], [answers("Tarn", wanted=None)], []],
    ),
}
