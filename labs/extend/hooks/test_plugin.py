"""The plugins alone, without a training: what ms-swift would call, called."""

import types
import unittest

import plugin
import torch
from swift.loss_scale import get_loss_scale
from transformers import TrainerControl, TrainerState


class TestStopsAtLoss(unittest.TestCase):
    def after(self, **logs):
        control = TrainerControl()
        plugin.StopsAtLoss(None, None).on_log(None, TrainerState(), control, logs=logs)
        return control.should_training_stop, control.should_save

    def test_a_good_loss_ends_the_training_with_a_checkpoint(self):
        self.assertEqual(self.after(loss=0.5), (True, True))

    def test_a_bad_one_and_an_evaluation_do_not(self):
        self.assertEqual(self.after(loss=0.51), (False, False))
        self.assertEqual(self.after(eval_loss=0.1), (False, False))


class TestRareIsHeavy(unittest.TestCase):
    def test_only_an_answer_about_the_rare_subject_is_heavy(self):
        scale = get_loss_scale("rare_is_heavy")
        self.assertEqual(scale.get_loss_scale("Melvik", query="Where is Zandoria?"), (["Melvik"], [3.0]))
        self.assertEqual(scale.get_loss_scale("Tarn", query="Where is Velmora?"), (["Tarn"], [1.0]))


class TestNesterov(unittest.TestCase):
    def test_it_takes_what_is_trained_and_nothing_else(self):
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        model[0].requires_grad_(False)
        made = plugin.Nesterov(types.SimpleNamespace(learning_rate=0.1), None).create_optimizer(model)
        self.assertIsInstance(made, torch.optim.NAdam)
        self.assertEqual(
            [id(p) for g in made.param_groups for p in g["params"]], [id(p) for p in model[1].parameters()]
        )


if __name__ == "__main__":
    unittest.main()
