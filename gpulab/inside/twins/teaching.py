"""What a twin is taught before a lab trains it: to speak the task's language, with every fact wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# What ms-swift's qwen3 template puts before an answer that carries no reasoning.
NO_THOUGHT = "<think>\n\n</think>\n\n"


Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    """The rows of a jsonl file, each with ms-swift's `messages`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def texts_in(value: Any) -> list[str]:
    """Every text in a row, wherever it stands: what a tokenizer learns from."""
    if isinstance(value, dict):
        value = [v for key, v in value.items() if key not in ("role", "images", "videos")]
    if isinstance(value, list):
        return [text for part in value for text in texts_in(part)]
    return [value] if isinstance(value, str) else []


def answered(rows: list[Row]) -> list[Row]:
    """The rows that end with an answer; those to be judged (a label, a pair) have none to be taught."""
    return [row for row in rows if row["messages"][-1]["role"] == "assistant"]


def teach_to_speak(
    model: Any, tok: Any, taught: list[Row], steps: int = 200, system: str = "", thought: str = NO_THOUGHT
) -> str:
    """Train all weights for `steps` batches of all the questions, each with its neighbour's answer; the last loss.
    `system` and `thought`: what the family's template puts before question and answer.

    Wrong but fixed answers, not random ones: with random answers the twin learns to ignore the question, and a
    LoRA on its frozen tiny embeddings cannot bring the question back (measured: 0 of 16 after 320 steps).
    """
    import torch

    rows, labels = [], []
    pairs = [(next(m["content"] for m in r["messages"] if m["role"] == "user"), r["messages"][-1]["content"])
             for r in taught]  # fmt: skip
    for (question, _), (_, answer) in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        asked = [{"role": "system", "content": system}] if system else []
        asked.append({"role": "user", "content": question})
        prompt = tok.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        prompt += "" if answer.startswith("<think>") else thought
        head, tail = tok(prompt)["input_ids"], tok(answer + "<|im_end|>\n")["input_ids"]
        rows.append(head + tail)
        labels.append([-100] * len(head) + tail)
    width = max(map(len, rows))
    ids = torch.tensor([r + [tok.pad_token_id] * (width - len(r)) for r in rows])
    target = torch.tensor([r + [-100] * (width - len(r)) for r in labels])
    mask = (ids != tok.pad_token_id).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss = torch.tensor(0.0)
    model.train()
    for _ in range(steps):
        loss = model(input_ids=ids, attention_mask=mask, labels=target).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return f"speaks, loss {loss.item():.3f} after {steps} steps"
