"""Ask a server for numbers instead of text, and write what they decide as `swift infer` writes answers.

python score.py --kind class --rows ROWS.jsonl --url URL --model MODEL --answers ANSWERS.jsonl

What is asked for and decided:
  class     the label of a text
  nearest   of all partners the one whose vector is nearest to a text's, the vectors by /v1/embeddings
  best      of a row's good and bad answers the one with the highest score
"""

import argparse
import json
from pathlib import Path

import numpy as np
from openai import OpenAI


class Server:
    """A served model."""

    def __init__(self, url: str, model: str) -> None:
        self.client, self.model = OpenAI(base_url=url, api_key="EMPTY"), model

    def content(self, messages: list[dict]) -> object:
        """What a chat completion says: of a classifier a label, of a reward model or reranker a list with a number."""
        return self.client.chat.completions.create(model=self.model, messages=messages).choices[0].message.content

    def score(self, messages: list[dict]) -> float:
        """The one number of a reward model or reranker."""
        said = self.content(messages)
        return float(said[0] if isinstance(said, list) else said)

    def vectors(self, texts: list[str]) -> np.ndarray:
        """The texts' vectors, of length 1."""
        found = [self.client.embeddings.create(model=self.model, input=t, encoding_format="float") for t in texts]
        vectors = np.array([one.data[0].embedding for one in found])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_class(server: Server, rows: list[dict]) -> list[tuple[object, object]]:
    """(label, right label) of each row."""
    return [(server.content(row["messages"]), row["label"]) for row in rows]


def by_nearest(server: Server, rows: list[dict]) -> list[tuple[object, object]]:
    """(nearest partner, own partner) of each row."""
    partners = [row["positive_messages"][0][0]["content"] for row in rows]
    near = server.vectors([row["messages"][0]["content"] for row in rows]) @ server.vectors(partners).T
    return [(partners[best], own) for best, own in zip(near.argmax(axis=1), partners, strict=True)]


def by_best(server: Server, rows: list[dict]) -> list[tuple[object, object]]:
    """(the answer with the highest score, the good one) of each row."""
    found = []
    for row in rows:
        if "rejected_response" in row:  # a preference: the chat ends with the good answer
            asked, good = row["messages"][:-1], row["messages"][-1]["content"]
            answers = [good, row["rejected_response"]]
        else:
            asked, good = row["messages"], row["positive_messages"][0][0]["content"]
            answers = [good, *(bad[0]["content"] for bad in row["negative_messages"])]
        scores = [server.score([*asked, {"role": "assistant", "content": answer}]) for answer in answers]
        best = answers[int(np.argmax(scores))] if len(set(scores)) > 1 else ""  # equal scores decide nothing
        found.append((best, good))
    return found


DECIDE = {"class": by_class, "nearest": by_nearest, "best": by_best}


def main() -> None:
    """A line for each row."""
    parser = argparse.ArgumentParser()
    for name in ("kind", "rows", "url", "model", "answers"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    rows = [json.loads(line) for line in Path(asked.rows).read_text().splitlines()]
    decided = DECIDE[asked.kind](Server(asked.url, asked.model), rows)
    lines = [
        json.dumps({"response": str(said), "labels": str(wanted), "messages": row["messages"][:1]})
        for row, (said, wanted) in zip(rows, decided, strict=True)
    ]
    Path(asked.answers).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
