"""Cases of gpulab/checks/exports.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import TEMPLATE, exported, log, ollamas, pushed
from tests.proof_cases import Cases

CASES: Cases = {
    "quantized by bitsandbytes to 4 bits": (
        [exported({"quant_method": "bitsandbytes", "load_in_4bit": True}, "q.weight", "q.weight.absmax")],
        [
            [exported({"quant_method": "bitsandbytes", "load_in_8bit": True}, "q.weight", "q.SCB")],
            [exported({"quant_method": "bitsandbytes", "load_in_4bit": True}, "q.weight")],  # only the config says so
            [exported({"quant_method": "gptq", "bits": 4}, "q.qweight")],
            [exported({}, "q.weight")],
            [],
        ],
    ),
    "the base is held in 4 bits": (
        [log("(q_proj): lora.Linear4bit(\n  (base_layer): Linear4bit(in_features=64, out_features=128, bias=True)")],
        [
            [log("(q_proj): lora.Linear8bitLt(\n  (base_layer): Linear8bitLt(in_features=64, out_features=128)")],
            [log("(q_proj): lora.Linear(\n  (base_layer): Linear(in_features=64, out_features=128, bias=True)")],
            [log("quant_bits=4")],  # asked for, and not done
        ],
    ),
    "weights at most 50% of before": (
        [exported({}, "q", size=1000, step="before"), exported({}, "q", size=400)],
        [
            [exported({}, "q", size=1000, step="before"), exported({}, "q", size=900)],
            [exported({}, "q", size=400)],  # nothing to compare with
            [exported({}, "q", size=1000, step="before")],  # nothing was made
        ],
    ),
    "same weights as before": (
        [pushed(1, "before/last-checkpoint"), pushed(1, "step/lab/capitals")],
        [
            [pushed(1, "before/last-checkpoint"), pushed(2, "step/lab/capitals")],
            [pushed(1, "before/last-checkpoint")],
            [pushed(1, "step/lab/capitals")],
        ],
    ),
    "modelfile says what the chat template says": (
        [ollamas()],
        [[ollamas(TEMPLATE.replace("<u>", "[INST]"))], [ollamas("{{ .Prompt }}")], []],
    ),
}
