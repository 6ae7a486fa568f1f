"""Cases of gpulab/checks/training.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

import numpy as np

from tests.finished_runs import (
    BASE,
    BF16,
    CHANGED,
    HALF,
    NORMS,
    WHOLE,
    adapter,
    full,
    heads,
    iterations,
    log,
    lora,
    losses,
    steps,
)
from tests.proof_cases import Cases

CASES: Cases = {
    "loss falls": (
        [losses(4, 3, 2, 1)],
        [[losses(1, 1, 1, 1)], [losses(1, 2, 3, 4)], [losses(1)], [losses(1, float("nan"))], []],
    ),
    "only lora weights trained": (
        [lora(), losses(2, 1)],
        [
            [lora(weight=np.ones((2, 3), np.float32)), losses(2, 1)],  # a full weight was saved beside
            [lora(), losses(2, 1, parameters="X: 10.0M Params (10.0M Trainable [100%])")],
            [losses(2, 1)],
        ],
    ),
    "adapter moved": ([lora()], [[lora(b=0.0)], [adapter(**{"lora_A.weight": np.ones(3, np.float32)})], []]),
    "dora magnitudes moved": (
        [lora(lora_magnitude_vector=NORMS * 1.1)],
        [[lora(lora_magnitude_vector=NORMS)], [lora()]],  # frozen; plain LoRA
    ),
    "all weights trained": (
        [full(CHANGED)],
        [[full(BASE)], [full(HALF)], [full(BF16)], []],  # the same values in another dtype are no training
    ),
    "adapter merged": (
        [full(HALF, "step/out/model.safetensors")],
        [
            [full(BASE, "step/out/model.safetensors")],
            [full({**HALF, "model.q.lora_A.weight": NORMS}, "step/out/model.safetensors")],
            [full({"model.q.weight": NORMS}, "step/out/model.safetensors")],  # a tensor of the base is missing
        ],
    ),
    "the model's own weights": (
        [full(BASE, "step/out/model.safetensors")],
        [
            [full(HALF, "step/out/model.safetensors")],
            [full({"model.q.weight": BASE["model.q.weight"]}, "step/out/model.safetensors")],  # a tensor is missing
            [],
        ],
    ),
    "converted without loss": (
        [log("mean_diff (with loss): 0.004, max_diff ...\ntoken_diff: 1\ntoken_diff (with loss): 0")],
        [
            [log("mean_diff (with loss): 0.4, max_diff ...\ntoken_diff (with loss): 0")],
            [log("mean_diff (with loss): 0.004, max_diff ...\ntoken_diff (with loss): 3")],
            [log("The weights are saved.")],
        ],
    ),
    "goes on as before to 1%": (
        [WHOLE, iterations(3, 2.0, 1.0)],
        [
            [WHOLE, iterations(3, 2.2, 1.1)],  # the optimizer's moments were lost
            [WHOLE, iterations(1, 4.0, 3.0, 2.0, 1.0)],  # it began anew
            [WHOLE, iterations(3, 2.0)],  # it did not reach the end
            [WHOLE],
            [iterations(3, 2.0, 1.0)],
        ],
    ),
    "loss as in before to 10%": (
        [losses(4, 2, 1, step="before"), losses(4.1, 2, 0.9)],
        [
            [losses(4, 2, 1, step="before"), losses(4, 2, 1.5)],
            [losses(4, 2, 1, step="before"), losses(4, 2)],  # other steps: another global batch
            [losses(4, 2, 1)],
        ],
    ),
    "stopped early": ([steps(1, 2, 3)], [[steps(8, 9)], []]),
    "went on from its checkpoint": (
        [steps(1, 2, 3, 4)],
        [[steps(1, 2, 1, 2)], [steps(1, 2, 2, 3)], [steps()], []],  # it began anew; a step twice
    ),
    "adapter holds q": ([lora()], [[heads(0.1), adapter()], []]),
    "adapter has nothing of experts": ([lora()], [[lora(**{"experts.lora_A.weight": NORMS})], []]),
}

CASES["a whole model retrained"] = CASES["adapter merged"]
