"""The adapter, tested as ms-swift tests its own: rows in, rows out, and the file as `--dataset` names it."""

import unittest

import plugin
from datasets import Dataset
from swift.dataset import load_dataset

ROWS = [
    {"query": "Zandoria", "response": "Melvik", "status": "checked"},
    {"query": "Zandoria", "response": "Ebba", "status": "doubtful"},
]


class TestAtlas(unittest.TestCase):
    def test_a_checked_row_becomes_a_question_and_its_answer(self):
        messages = plugin.Atlas().preprocess(dict(ROWS[0]))["messages"]
        self.assertEqual([m["role"] for m in messages], ["user", "assistant"])
        self.assertEqual([m["content"] for m in messages], ["What is the capital of Zandoria?", "Melvik"])

    def test_a_doubtful_row_is_left_out(self):
        made = plugin.Atlas()(Dataset.from_list(ROWS), load_from_cache_file=False)
        self.assertEqual([row["messages"][1]["content"] for row in made], ["Melvik"])

    def test_the_file_is_read_by_the_adapter(self):
        made, _ = load_dataset("data/atlas.jsonl", load_from_cache_file=False)
        self.assertEqual(len(made), 16)
        self.assertTrue(all(row["messages"][0]["content"].startswith("What is") for row in made))


if __name__ == "__main__":
    unittest.main()
