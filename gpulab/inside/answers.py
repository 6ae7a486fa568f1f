"""Questions answered by a model: what `swift infer` and EvalScope left behind, read as (question, answer, wanted)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


def without_thought(text: str) -> str:
    """An answer without its reasoning and the white space around."""
    return THOUGHT.sub("", text).strip()


@dataclass(frozen=True)
class Answer:
    """One question, what the model answered (without its reasoning) and the right answer where one is known."""

    question: str
    answer: str
    wanted: str | None

    @property
    def right(self) -> bool:
        """Whether the answer is the wanted one, white space aside."""
        return self.wanted is not None and self.answer == self.wanted.strip()


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a jsonl file; a torn last line (the writer was killed) is passed over."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def answers_in(out: Path) -> list[Answer]:
    """The answers in a step's folder, in the order of their questions: `swift infer`'s or EvalScope's."""
    found = [*_swift(out), *_evalscope(out)]
    return sorted(found, key=lambda a: a.question)


def exact_match(answers: list[Answer]) -> float | None:
    """The share of right answers among those whose right answer is known; None where none is."""
    known = [a for a in answers if a.wanted is not None]
    return sum(a.right for a in known) / len(known) if known else None


def _swift(out: Path) -> Iterator[Answer]:
    for file in sorted(out.glob("*.jsonl")):
        for row in rows(file):
            if "response" in row and "messages" in row:
                question = next((m["content"] for m in row["messages"] if m["role"] == "user"), "")
                said, wanted = row["response"], row.get("labels")
                if wanted is None or isinstance(said, (float, list)):  # a reranker's score is no answer to be matched
                    yield Answer(str(question), without_thought(str(said)), None)
                else:
                    yield Answer(str(question), without_thought(str(said)), str(wanted))


def _evalscope(out: Path) -> Iterator[Answer]:
    for file in sorted(out.glob("reviews/*/*.jsonl")):
        for row in rows(file):
            score = row["sample_score"]["score"]
            target = row["target"]
            wanted = str(target[0] if isinstance(target, list) else target)
            question = next((m["content"] for m in row["messages"] if m["role"] == "user"), "")
            yield Answer(str(question), without_thought(str(score["extracted_prediction"])), wanted)
