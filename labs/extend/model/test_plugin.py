"""The model and the template alone: loaded by their names as `swift sft` does, without a training.

LAB_MODEL is the model that the lab runs with: an id, or a folder.
"""

import os
import unittest

import plugin
import torch
from swift.model import get_model_processor
from swift.template import get_template

MODEL = os.environ["LAB_MODEL"]


class TestCappedQwen3(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model, cls.tokenizer = get_model_processor(
            MODEL, model_type="capped_qwen3", torch_dtype=torch.float32, device_map="cpu"
        )

    def test_the_loader_makes_the_class(self):
        self.assertIsInstance(self.model, plugin.CappedQwen3)

    def test_its_weights_are_those_of_the_checkpoint(self):
        plain, _ = get_model_processor(MODEL, model_type="qwen3", torch_dtype=torch.float32, device_map="cpu")
        self.assertTrue(torch.equal(self.model.lm_head.weight, plain.lm_head.weight))
        self.assertEqual(self.model.state_dict().keys(), plain.state_dict().keys())

    def test_no_logit_is_above_the_cap(self):
        head = plugin.CappedHead(2, 3)
        self.assertLessEqual(head(torch.full((1, 2), 1e6)).abs().max().item(), plugin.CAP)

    def test_small_logits_are_hardly_changed(self):
        head = plugin.CappedHead(2, 3)
        states = torch.ones(1, 2)
        self.assertTrue(
            torch.allclose(head(states), torch.nn.functional.linear(states, head.weight, head.bias), atol=1e-2)
        )

    def test_a_row_is_written_in_plain_words(self):
        template = get_template(self.tokenizer)
        template.set_mode("train")
        asked = {"role": "user", "content": "Where?"}
        encoded = template.encode({"messages": [asked, {"role": "assistant", "content": "There"}]})
        eos = self.tokenizer.eos_token
        self.assertEqual(self.tokenizer.decode(encoded["input_ids"]), f"Question: Where?\nAnswer: There{eos}")
        counted = [token for token in encoded["labels"] if token >= 0]
        self.assertEqual(self.tokenizer.decode(counted), f"There{eos}")

    def test_several_turns_are_set_apart(self):
        template = get_template(self.tokenizer)
        said = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
        text = self.tokenizer.decode(template.encode({"messages": said})["input_ids"])
        self.assertEqual(text, "system\n\nQuestion: user\nAnswer: assistant\n\nQuestion: user\nAnswer: ")


if __name__ == "__main__":
    unittest.main()
