"""Proofs about answers: of inference, of a served model, of an evaluation."""

from __future__ import annotations

import json
import re

from gpulab.checks.registry import Finished, Unproven, proof
from gpulab.inside.answers import THOUGHT, answers_in, exact_match, rows, without_thought
from gpulab.inside.evaluated import primary_of, reports, troubles


@proof("exact match at least N%")
def match_at_least(finished: Finished, share: float) -> str:
    """The answers are the right ones, to the letter."""
    answers = answers_in(finished.out)
    match = exact_match(answers)
    if match is None or match < share:
        raise Unproven(f"{sum(a.right for a in answers)} of {len(answers)} answers right")
    return f"{sum(a.right for a in answers)} of {len(answers)} answers right"


@proof("exact match above STEP")
def match_above(finished: Finished, step: str) -> str:
    """More answers are right than in an earlier step."""
    before, after = exact_match(answers_in(finished.run / step)), exact_match(answers_in(finished.out))
    if before is None or after is None or not after > before:
        raise Unproven(f"exact match {_percent(before)} in {step}, {_percent(after)} now")
    return f"exact match {_percent(before)} in {step}, {_percent(after)} now"


@proof("same answers as STEP to N%")
def same_answers(finished: Finished, step: str, share: float) -> str:
    """The same questions get the same answers as in an earlier step, in at least that share of them."""
    before = {a.question: a.answer for a in answers_in(finished.run / step)}
    after = {a.question: a.answer for a in answers_in(finished.out)}
    agree = sum(after.get(q) == answer for q, answer in before.items())
    if not before or before.keys() != after.keys() or agree < share * len(before):
        raise Unproven(f"{agree} of {len(before)} answers as in {step}, {len(after)} answers now")
    return f"{agree} of {len(before)} answers as in {step}"


@proof("N% of answers say TEXT")
def answers_say(finished: Finished, share: float, text: str) -> str:
    """At least that share of the answers has the text in it, their reasoning set aside."""
    answers = answers_in(finished.out)
    saying = sum(text in a.answer for a in answers)
    if not answers or saying < share * len(answers):
        raise Unproven(f"{saying} of {len(answers)} answers say {text}")
    return f"{saying} of {len(answers)} answers say {text}"


@proof("every sample says TEXT")
def samples_say(finished: Finished, text: str) -> str:
    """What `swift sample` kept has the text in it, each of it."""
    kept = [row["messages"][-1]["content"] for row in rows(finished.out / "samples.jsonl")]
    saying = sum(text in said for said in kept)
    if not kept or saying < len(kept):
        raise Unproven(f"{saying} of {len(kept)} samples say {text}")
    return f"all of {len(kept)} samples say {text}"


@proof("N% of answers reason")
def answers_reason(finished: Finished, share: float) -> str:
    """At least that share of the answers of `swift infer` begins with a reasoning that is not empty."""
    said = [str(row["response"]) for row in rows(finished.out / "infer_result.jsonl")]
    thoughts = [match[0] for text in said if (match := THOUGHT.match(text.strip()))]
    reasoning = sum(bool(thought.strip()[len("<think>") : -len("</think>")].strip()) for thought in thoughts)
    if not said or reasoning < share * len(said):
        raise Unproven(f"{reasoning} of {len(said)} answers reason")
    return f"{reasoning} of {len(said)} answers reason"


@proof("N% of right ones score above wrong ones")
def ranked(finished: Finished, share: float) -> str:
    """Of all pairs of a right and a wrong document of one question (labels 1 and 0 of `swift infer`), the right one has
    the higher score in at least that share. A model that learned only how rare right ones are scores all alike."""
    asked: dict[str, dict[bool, list[float]]] = {}
    for row in rows(finished.out / "infer_result.jsonl"):
        said = row["response"]
        score = float(said[0] if isinstance(said, list) else said)
        asked.setdefault(row["messages"][0]["content"], {True: [], False: []})[str(row["labels"]) == "1"].append(score)
    pairs = [right > wrong for of in asked.values() for right in of[True] for wrong in of[False]]
    evidence = f"the right one is above the wrong one in {sum(pairs)} of {len(pairs)} pairs"
    if not pairs or sum(pairs) < share * len(pairs):
        raise Unproven(evidence)
    return evidence


@proof("every question answered")
def all_answered(finished: Finished) -> str:
    """No answer is empty, and none of EvalScope's metrics failed in silence (it reports those as 0)."""
    answers = answers_in(finished.out)
    empty = [a.question for a in answers if not a.answer]
    broken = re.findall(r"Error calculating metric.*", finished.log.read_text(encoding="utf-8", errors="replace"))
    if not answers or empty or broken:
        raise Unproven(
            f"{len(empty)} of {len(answers)} answers are empty; {broken[0] if broken else 'no metric failed'}"
        )
    return f"{len(answers)} answers, none empty, no metric failed"


@proof("every question scored")
def all_scored(finished: Finished) -> str:
    """EvalScope has an answer to each of its questions and scored it: no failed request passes as a wrong answer."""
    if wrong := troubles(finished.out):
        raise Unproven("; ".join(wrong))
    counts = [f"{primary_of(report)['num']} of {report['dataset_name']}" for report in reports(finished.out)]
    return f"asked and scored: {', '.join(counts)}"


@proof("chat answered")
def chat_answered(finished: Finished) -> str:
    """chat.json is a chat completion: a model's name, a choice that says something, tokens counted."""
    reply = json.loads((finished.out / "chat.json").read_text(encoding="utf-8"))
    said, tokens = reply["choices"][0]["message"]["content"] or "", reply["usage"]["completion_tokens"]
    evidence = f"{reply['model']} said {without_thought(said)[:60]!r} in {tokens} tokens"
    if not without_thought(said) or not tokens:
        raise Unproven(evidence)
    return evidence


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"
