"""FusedAdam, not fused. Gradients are scaled and clipped by Megatron-Core's own functions."""

from __future__ import annotations

from typing import Any

import torch

from ..refuse import refuse, refused

FusedSGD = refused("FusedSGD")


class FusedAdam(torch.optim.Optimizer):
    """AdamW with the step counted in its groups, as Megatron-Core's distributed optimizer stores it."""

    def __init__(
        self, params: Any, lr: float = 1e-3, bias_correction: bool = True, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, adam_w_mode: bool = True, weight_decay: float = 0.0, **more: Any,
    ) -> None:  # fmt: skip
        if wanted := [name for name, value in more.items() if value and value not in (torch.float32, torch.int16)]:
            refuse(f"FusedAdam with {wanted[0]}")
        if not adam_w_mode:
            refuse("FusedAdam with adam_w_mode off")
        self.master_weights = self.store_param_remainders = self.capturable = False
        super().__init__(params, {
            "lr": lr, "bias_correction": bias_correction, "betas": betas, "eps": eps, "weight_decay": weight_decay,
        })  # fmt: skip

    def initialize_state(self, param: Any, store_param_remainders: bool = False) -> None:
        """Adam's moments of one parameter."""
        self.state[param]["exp_avg"] = torch.zeros_like(param, dtype=torch.float32)
        self.state[param]["exp_avg_sq"] = torch.zeros_like(param, dtype=torch.float32)

    def get_unscaled_state(self, param: Any, name: str) -> Any:
        """A moment; none is scaled."""
        return self.state[param][name]

    def set_scaled_state(self, param: Any, name: str, value: Any) -> None:
        """A moment; none is scaled."""
        if name not in self.state[param]:
            self.initialize_state(param)
        self.state[param][name].copy_(value)

    @torch.no_grad()
    def step(self, closure: Any = None, **more: Any) -> None:  # type: ignore[override]
        """One step of AdamW (Loshchilov and Hutter): the decay apart from the moments."""
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            (first, second), step = group["betas"], group["step"]
            right = (1 - first**step, 1 - second**step) if group["bias_correction"] else (1.0, 1.0)
            for param in group["params"]:
                grad = getattr(param, "decoupled_grad", None) if param.grad is None else param.grad
                if grad is None:
                    continue
                if "exp_avg" not in self.state[param]:
                    self.initialize_state(param)
                mean, square = self.state[param]["exp_avg"], self.state[param]["exp_avg_sq"]
                grad = grad.float()
                mean.lerp_(grad, 1 - first)
                square.mul_(second).addcmul_(grad, grad, value=1 - second)
                change = (mean / right[0]) / ((square / right[1]).sqrt() + group["eps"])
                param.add_((change + group["weight_decay"] * param.float()).to(param.dtype), alpha=-group["lr"])
