"""Proofs that pictures were really looked at: in training by what was counted, afterwards by the answers."""

from __future__ import annotations

import json

from gpulab.checks.registry import Finished, Unproven, proof
from gpulab.inside.answers import answers_in


@proof("images became tokens")
def became_tokens(finished: Finished) -> str:
    """What the text has places for, what the pictures' grids come to and what the vision tower put out are one number
    (vision_tokens.py counted), and every row has its picture."""
    seen = json.loads((finished.out / "vision_tokens.json").read_text(encoding="utf-8"))
    rows, pictures = seen.get("rows", 0), seen.get("pictures", 0)
    counts = [seen.get(name, 0) for name in ("places", "grid", "embedded")]
    said = f"{rows} rows, {pictures} pictures: {counts[0]} places, {counts[1]} in grids, {counts[2]} embedded"
    if not 0 < rows <= pictures or not counts[0] or len(set(counts)) > 1:
        raise Unproven(said)
    return f"{pictures} pictures of {rows} rows became {counts[0]} tokens"


@proof("exact match at most N%")
def match_at_most(finished: Finished, share: float) -> str:
    """No more answers are right: those about another picture, or about none, should be wrong."""
    answers = answers_in(finished.out)
    right = sum(a.right for a in answers)
    if not answers or any(a.wanted is None for a in answers) or right > share * len(answers):
        raise Unproven(f"{right} of {len(answers)} answers right")
    return f"{right} of {len(answers)} answers right"
