"""Cases of gpulab/checks/settings.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import args, cached, log
from tests.proof_cases import Cases

CASES: Cases = {
    "args say rlhf_type=dpo": (
        [args(rlhf_type="dpo")],
        [[args(rlhf_type="cpo")], [args(rlhf_type=None)], [args(other="dpo")], []],
    ),
    "args say beta=0.1": ([args(beta=0.1)], [[args(beta=0.5)], [args(beta="high")], [args(beta=None)]]),
    "args say streaming=true": ([args(streaming=True)], [[args(streaming=False)], [args(streaming=1)]]),
    "inference by sglang": (
        [log("[INFO:swift] args: InferArguments(model='m', infer_backend='sglang', seed=42)")],
        [
            [log("[INFO:swift] args: InferArguments(model='m', infer_backend='transformers', seed=42)")],
            [log("run sh: swift infer --infer_backend sglang")],  # what was asked for is not what it made of it
            [log("")],
        ],
    ),
    "data cached by before": (
        [cached("before/cached/train")],
        [
            [cached("before/cached/train", dataset=["more.jsonl"])],
            [cached("other/cached/train")],
            [cached("", cached_dataset=[], dataset=["a.jsonl"])],
            [],
        ],
    ),
}
