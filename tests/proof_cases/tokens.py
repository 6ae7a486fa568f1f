"""Cases of gpulab/checks/tokens.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import args, tokens
from tests.proof_cases import Cases

CASES: Cases = {
    "loss counts <think></think>": (
        [tokens(("user: x", 0), ("<think>\n\n</think>\n\nhi", 1))],
        [
            [tokens(("user: x", 0), ("<think>\n\n</think>\n\n", 0), ("hi", 1))],  # left out
            [tokens(("<think>\n", 0), ("</think>", 1))],  # a part of it
            [tokens(("hi", 1))],
            [],
        ],
    ),
    "loss leaves out <think></think>": (
        [tokens(("<think>\n\n</think>\n\n", 0), ("hi", 1))],
        [
            [tokens(("<think>\n\n</think>\n\nhi", 1))],
            [tokens(("<think>", 0), ("</think>", 1))],
            [tokens(("hi", 1))],
            [],
        ],
    ),
    'loss weighs "name": by 2': (
        [tokens(('{"name": "a"} is a tool', 0), ('{"name": "a"}', 2))],
        [[tokens(('{"name": "a"}', 1))], [tokens(('{"name": "a"}', 0))], [tokens(("hi", 2))], []],
    ),
    "<|7|> is one token": ([tokens()], [[tokens(added={})], [tokens(added={"<|6|>": 1})], []]),
    "batches without padding": (
        [tokens()],
        [
            [tokens(padding=1)],
            [tokens(samples=2)],  # a sample a row has no padding either
            [tokens(rows=0, samples=0)],
            [],
        ],
    ),
    "rows filled to 75%": (
        [tokens(), args(max_length=100)],
        [
            [tokens(tokens=140), args(max_length=100)],
            [tokens(samples=2), args(max_length=100)],  # long samples, one a row
            [tokens(tokens=720), args(max_length=100)],  # batches of padding-free rows are longer than max_length
            [tokens()],
        ],
    ),
}
