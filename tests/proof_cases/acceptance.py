"""Cases of gpulab/checks/acceptance.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import machine
from tests.proof_cases import Cases

CASES: Cases = {
    "every machine passes": ([machine()], [[machine(wrong_products=1)], [machine(world=2)], []]),
}
