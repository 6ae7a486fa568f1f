"""Cases of gpulab/checks/heads.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import heads
from tests.proof_cases import Cases

CASES: Cases = {
    "heads trained beside lora": (
        [heads(0.1, 0.2)],
        # still, seen once, no head, no LoRA, something else beside them
        [
            [heads(0.1, 0.1)],
            [heads(0.1)],
            [heads(0.1, 0.2, name="q.lora_A")],
            [heads(0.1, 0.2, lora=False)],
            [heads(0.1, 0.2, name="embed_tokens")],
            [],
        ],
    ),
}
