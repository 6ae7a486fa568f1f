"""Cases of gpulab/checks/served.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import benched, benched_by_vllm, counted, rough, ways
from tests.proof_cases import Cases

CASES: Cases = {
    "every request answered": (
        [benched(1), benched(4)],
        [
            [],
            [benched(1), benched(4, failed=1)],
            [benched(1, failed=16)],
            [benched(1, tokens=0)],
            [benched_by_vllm(4, failed=1)],
            [benched_by_vllm(4, failed=16)],  # it ends well with a dead server
        ],
    ),
    "every way of asking agrees": (
        [ways(pieces=(2, 1, 2))],  # a busy server joined the pieces of one answer
        [
            [ways(pieces=(1, 1, 1))],  # nothing was streamed
            [ways(streamed=["Tarn"])],
            [ways(alone=[""], streamed=[""])],
            [ways(logprob=0.5)],
            [],
        ],
    ),
    "2 rough clients change nothing": (
        [rough(), rough(crowd={"200": 1, "503": 1})],
        [
            [],
            [rough(status=500)],
            [rough(status=200)],  # nothing rough was sent
            [rough(taken={"null bytes": 500})],
            [rough(left=["HTTP/1.1 500 Internal Server Error"])],
            [rough(crowd={})],
            [rough(crowd={"200": 1})],
            [rough(crowd={"200": 1, "ConnectionResetError": 1})],
            [rough(after="Tarn")],
        ],
    ),
    "vllm finished at least 16 requests": (
        [counted(0, stop=12, length=4)],
        [[counted(0, stop=12, abort=4)], [counted(0)], []],  # its clients were gone; another engine answered
    ),
}
