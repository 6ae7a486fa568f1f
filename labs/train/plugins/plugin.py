"""A loss, a metric and a callback of one's own, registered where ms-swift looks for them."""

import json
from pathlib import Path

import torch
from swift.callbacks import callbacks_map
from swift.callbacks.base import TrainerCallback
from swift.loss import loss_map
from swift.loss.base import BaseLoss
from swift.metrics import eval_metrics_map
from swift.metrics.base import EvalMetrics

SMOOTHING = 0.1


class Smoothed(BaseLoss):
    """Cross entropy with a share of the target spread over the whole vocabulary."""

    def __call__(self, outputs, labels, *, num_items_in_batch=None, loss_scale=None, **_):
        """outputs.logits: [batch, tokens, vocabulary]; labels: [batch, tokens], -100 where nothing counts."""
        logits, target = outputs.logits[:, :-1].float(), labels[:, 1:].to(outputs.logits.device)
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), target.flatten(), ignore_index=-100, label_smoothing=SMOOTHING, reduction="sum"
        )
        return loss / ((target != -100).sum() if num_items_in_batch is None else num_items_in_batch)


class FirstToken(EvalMetrics):
    """The share of answers whose first token is right."""

    def compute_metrics(self, prediction):
        """predictions and label_ids: [rows, tokens]; the prediction for a token stands one place before it."""
        right = []
        for guessed, wanted in zip(prediction.predictions, prediction.label_ids, strict=True):
            places = (wanted != -100).nonzero()[0]
            right.append(float(guessed[places[0] - 1] == wanted[places[0]]))
        return {"first_token_acc": sum(right) / len(right)}

    def preprocess_logits_for_metrics(self, logits, labels):
        """Only the best token of each place is kept: all logits of a validation set would not fit memory."""
        return (logits[0] if isinstance(logits, (list, tuple)) else logits).argmax(dim=-1)


class Diary(TrainerCallback):
    """Writes down what trained: which loss, how many steps."""

    def on_train_end(self, args, state, control, **_):
        """Leaves diary.json in the training's folder."""
        told = {"loss": type(self.trainer.compute_loss_func).__name__, "steps": state.global_step}
        (Path(args.output_dir) / "diary.json").write_text(json.dumps(told))


loss_map["smoothed"] = Smoothed
eval_metrics_map["first_token"] = FirstToken
callbacks_map["diary"] = Diary
