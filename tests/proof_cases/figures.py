"""Cases of gpulab/checks/figures.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import figure, losses
from tests.proof_cases import Cases

CASES: Cases = {
    "loss starts at 0.6931": (
        [losses(0.6931, 0.5)],
        [[losses(3.43, 0.69)], [losses(float("nan"), 0.6931)], []],  # an SFT loss in a step called dpo
    ),
    "figure rewards/margins rises": (
        [figure("rewards/margins", 0.0, 0.1, 0.5, 0.9)],
        [[figure("rewards/margins", 0.5, 0.5)], [figure("rewards/margins", 0.9, 0.1)], [figure("loss", 1, 2)], []],
    ),
    "figure kl falls": ([figure("kl", 2, 1)], [[figure("kl", 1, 1)], [figure("kl", 1)], [figure("kl", 1, "x")]]),
    "figure eval_acc reaches 0.9": (
        [figure("eval_acc", 0.2, 0.95)],
        [[figure("eval_acc", 0.95, 0.5)], [figure("eval_acc", 0.2, float("nan"))], [figure("other", 1)]],
    ),
}
