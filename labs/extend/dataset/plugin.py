"""A dataset that ms-swift reads otherwise than it is meant: its adapter asks questions and leaves doubtful rows out."""

from typing import Any

from swift.dataset import DatasetMeta, RowPreprocessor, register_dataset

QUESTION = "What is the capital of {land}?"


class Atlas(RowPreprocessor):
    """A row is a land, a city and whether somebody has checked it."""

    def preprocess(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """A row as ms-swift's `messages`; None leaves it out."""
        if row["status"] != "checked":
            return None
        question = QUESTION.format(land=row["query"])
        return {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": row["response"]},
            ]
        }


# Found by the path that --dataset names, or by a file of that name.
register_dataset(DatasetMeta(dataset_path="data/atlas.jsonl", preprocess_func=Atlas(), tags=["geography"]))
