"""A callback that ends the training, weights of tokens, and an optimizer, registered where ms-swift looks for them."""

from typing import Any

import torch
from swift.callbacks import callbacks_map
from swift.callbacks.base import TrainerCallback
from swift.loss_scale import LossScale, loss_scale_map
from swift.optimizers import OptimizerCallback, optimizers_map

GOOD_ENOUGH = 0.5
HEAVY = 3.0
RARE = "Zandoria"


class StopsAtLoss(TrainerCallback):
    """Ends the training when a logged loss is good enough."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """control is read after every step; None of the metrics of an evaluation is called `loss`."""
        if logs and logs.get("loss", GOOD_ENOUGH + 1) <= GOOD_ENOUGH:
            control.should_training_stop = True
            control.should_save = True  # a training that is ended saves nothing of itself


class RareIsHeavy(LossScale):
    """What is said about a rare subject counts more."""

    is_binary = False  # weights other than 0 and 1: the batch gets a `loss_scale` of its own

    def get_loss_scale(self, context: str, *, query: str | None = None, **_: Any) -> tuple[list[str], list[float]]:
        """The answer in parts, and the weight of each."""
        return [context], [HEAVY if query and RARE in query else 1.0]


class Nesterov(OptimizerCallback):
    """NAdam on what is trained."""

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """transformers makes the schedule for whatever this returns."""
        trained = [p for p in (model or self.trainer.model).parameters() if p.requires_grad]
        return torch.optim.NAdam(trained, lr=self.args.learning_rate)


callbacks_map["stops_at_loss"] = StopsAtLoss
loss_scale_map["rare_is_heavy"] = RareIsHeavy
optimizers_map["nesterov"] = Nesterov
