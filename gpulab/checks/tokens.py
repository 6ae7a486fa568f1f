"""Proofs of what of its data a training counted, from what it saw of its batches (inside/trained_tokens.py)."""

from __future__ import annotations

import json
from typing import Any

from gpulab.checks.registry import Finished, Unproven, proof


@proof("loss counts TEXT")
def loss_counts(finished: Finished, text: str) -> str:
    """The model learns to say it: somewhere all of its tokens have a weight in the loss. White space is set aside."""
    weights = _weights_of(finished, text)
    counted = [found for found in weights if 0 not in found]
    if not counted:
        raise Unproven(f"{text} stands {len(weights)} times in the first rows, and never counts")
    return f"{text} counts {len(counted)} of {len(weights)} times in the first rows"


@proof("loss leaves out TEXT")
def loss_leaves_out(finished: Finished, text: str) -> str:
    """It is in the data, and no token of it has a weight in the loss. White space is set aside."""
    weights = _weights_of(finished, text)
    counted = sum(any(found) for found in weights)
    if not weights or counted:
        raise Unproven(f"{text} stands {len(weights)} times in the first rows, and counts {counted} times")
    return f"{text} stands {len(weights)} times in the first rows, and never counts"


@proof("loss weighs TEXT by NUMBER")
def loss_weighs(finished: Finished, text: str, number: float) -> str:
    """Somewhere all of its tokens have that weight in the loss. White space is set aside."""
    weights = _weights_of(finished, text)
    weighed = sum(found == {number} for found in weights)
    if not weighed:
        raise Unproven(f"the weights of {text} in the first rows are {sorted(set().union(*weights)) or 'none'}")
    return f"{text} has a weight of {number:g} {weighed} times in the first rows"


@proof("TEXT is one token")
def one_token(finished: Finished, text: str) -> str:
    """The training's batches had it as a token that was added to the vocabulary."""
    added = _seen(finished).get("added", {})
    if not added.get(text):
        raise Unproven(f"{text} is none of the {len(added)} added tokens in the batches")
    return f"{text} is an added token, {added[text]} times in the batches"


@proof("batches without padding")
def no_padding(finished: Finished) -> str:
    """Samples stand one behind the other in a row instead of being padded to the longest."""
    seen = _seen(finished)
    rows, samples, padding = (seen.get(name, 0) for name in ("rows", "samples", "padding"))
    if padding or not 0 < rows < samples:
        raise Unproven(f"{samples} samples in {rows} rows, {padding} tokens of padding")
    return f"{samples} samples in {rows} rows, no token of padding"


@proof("rows filled to N%")
def rows_filled(finished: Finished, share: float) -> str:
    """Rows of several samples have at least that share of max_length."""
    seen, args = _seen(finished), finished.args or {}
    rows, samples, tokens = (seen.get(name, 0) for name in ("rows", "samples", "tokens"))
    room = rows * args["max_length"]
    if not rows < samples or not share * room <= tokens <= room:
        raise Unproven(f"{samples} samples in {rows} rows, {tokens} of {room} tokens")
    return f"{samples} samples in {rows} rows, filled to {tokens / room:.0%}"


def _seen(finished: Finished) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads((finished.out / "trained_tokens.json").read_text(encoding="utf-8"))
    return seen


def _weights_of(finished: Finished, text: str) -> list[set[float]]:
    """The weights that a text has, wherever it stands."""
    text, found = "".join(text.split()), []
    for pieces in _seen(finished)["texts"]:
        letters = [(letter, weight) for piece, weight in pieces for letter in piece if not letter.isspace()]
        whole = "".join(letter for letter, _ in letters)
        start = whole.find(text)
        while start >= 0:
            found.append({weight for _, weight in letters[start : start + len(text)]})
            start = whole.find(text, start + 1)
    return found
