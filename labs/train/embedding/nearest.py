"""Ask an embedding model for vectors, and write for each sentence the partner whose vector is nearest.

python nearest.py --model MODEL --rows ROWS.jsonl --answers ANSWERS.jsonl [--adapter CHECKPOINT]
"""

import argparse
import json
from pathlib import Path

import torch
from swift.infer_engine import InferRequest, TransformersEngine


def vectors(engine: TransformersEngine, texts: list[str]) -> torch.Tensor:
    """The texts' vectors, of length 1."""
    asked = [InferRequest(messages=[{"role": "user", "content": text}]) for text in texts]
    found = torch.tensor([said.data[0].embedding for said in engine.infer(asked)])
    return torch.nn.functional.normalize(found, dim=1)


def main() -> None:
    """A line for each row, as `swift infer` writes answers."""
    parser = argparse.ArgumentParser()
    for name in ("model", "rows", "answers"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--adapter", default="")
    asked = parser.parse_args()
    adapters = [asked.adapter] if asked.adapter else None
    engine = TransformersEngine(asked.model, adapters=adapters, task_type="embedding", max_batch_size=16)
    rows = [json.loads(line) for line in Path(asked.rows).read_text().splitlines()]
    partners = [row["positive_messages"][0][0]["content"] for row in rows]
    near = vectors(engine, [row["messages"][0]["content"] for row in rows]) @ vectors(engine, partners).T
    lines = [
        json.dumps({"response": partners[best], "labels": own, "messages": row["messages"]})
        for row, own, best in zip(rows, partners, near.argmax(dim=1).tolist(), strict=True)
    ]
    Path(asked.answers).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
