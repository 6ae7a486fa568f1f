"""What a twin is taught before a lab trains it: to speak the task's language, with every fact wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# What ms-swift's qwen3 template puts before an answer that carries no reasoning.
NO_THOUGHT = "<think>\n\n</think>\n\n"


def conversations(path: Path) -> list[tuple[str, str]]:
    """The (question, answer) pairs of a jsonl file in ms-swift's `messages` form."""
    rows = [json.loads(line)["messages"] for line in path.read_text().splitlines() if line.strip()]
    return [(next(m["content"] for m in r if m["role"] == "user"), r[-1]["content"]) for r in rows]


def teach_to_speak(model: Any, tok: Any, pairs: list[tuple[str, str]], steps: int = 200) -> str:
    """Train all weights for `steps` batches of all the questions, each with its neighbour's answer; the last loss.

    Wrong but fixed answers, not random ones: with random answers the twin learns to ignore the question, and a
    LoRA on its frozen tiny embeddings cannot bring the question back (measured: 0 of 16 after 320 steps).
    """
    import torch

    rows, labels = [], []
    for (question, _), (_, answer) in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        prompt = tok.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        head, tail = tok(prompt + NO_THOUGHT)["input_ids"], tok(answer + "<|im_end|>\n")["input_ids"]
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
