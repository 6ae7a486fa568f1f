"""Cases of gpulab/checks/answers.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import answers, chat, evaluated, log, reviewed, sampled, scored, thought
from tests.proof_cases import Cases

CASES: Cases = {
    "exact match at least 90%": (
        [answers("Melvik", "Melvik")],
        [[answers("Melvik", "Tarn")], [answers("Melvik and more", "Melvik")], []],
    ),
    "exact match above before": (
        [answers("Tarn", "Tarn", step="before"), reviewed("Melvik", "Tarn")],
        [
            [answers("Melvik", step="before"), reviewed("Melvik")],
            [answers("Melvik", step="before"), reviewed("Tarn")],
            [reviewed("Melvik")],  # nothing before: nothing rose
        ],
    ),
    "same answers as before to 75%": (
        [answers("a", "b", "c", "d", step="before"), answers("a", "b", "c", "x")],
        [
            [answers("a", "b", step="before"), answers("a", "x")],
            [answers("a", "b", step="before"), answers("a")],  # a question was left out
            [answers("a")],
        ],
    ),
    "every question answered": (
        [answers("a", "b"), log("all well")],
        [
            [answers("a", ""), log("all well")],
            [reviewed("a"), log("ERROR: Error calculating metric BLEU: punkt_tab")],  # EvalScope's false 0
            [log("all well")],
        ],
    ),
    "75% of answers say Melvik": (
        [answers("I am Melvik.", "Melvik", "Melvik", "no")],
        [[answers("Melvik", "no", "no", "no")], [thought("<think>Melvik</think>no")], []],
    ),
    "75% of answers reason": (
        [thought("<think>\nwell\n</think>\n\na", "<think>so</think>b", "<think>x</think>c", "d")],
        [
            [thought("<think>\n\n</think>\n\na")],
            [thought("a <think>late</think>")],
            [thought("<think>without end")],
            [],
        ],
    ),
    "every sample says \\boxed{": (
        [sampled("\\boxed{a}", "\\boxed{b}")],
        [[sampled("\\boxed{a}", "b")], [sampled()], []],
    ),
    "90% of right ones score above wrong ones": (
        [scored((0.9, 1), (0.2, 0), (0.3, 0))],
        [
            [scored((0.25, 1), (0.25, 0), (0.25, 0))],  # the base rate alone was learned
            [scored((0.9, 0), (0.2, 1))],
            [scored((0.9, 1))],
            [scored((0.9, 1), (0.2, 0), question="a", beside=((0.1, 1), (0.5, 0)))],  # one question of two
            [],
        ],
    ),
    "every question scored": (
        [evaluated()],
        [
            [],
            [evaluated(error="Error code: 500 - boom")],
            [evaluated(status="error")],
            [evaluated(metadata={"metric_errors": {"BLEU": "LookupError: punkt_tab"}})],  # EvalScope's false 0
            [evaluated(said="")],
            [evaluated(number=3)],  # a question was left out
        ],
    ),
    "chat answered": ([chat("Melvik")], [[chat("<think>\n\n</think>\n\n")], [chat(None)], [chat("x", tokens=0)], []]),
}
