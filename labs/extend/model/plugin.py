"""A model and a chat template of one's own: Qwen3 with a head that caps its logits, asked in plain words."""

from typing import Any

import torch
from swift.model import Model, ModelGroup, ModelMeta, register_model
from swift.model.register import ModelLoader
from swift.template import TemplateMeta, register_template
from transformers import Qwen3ForCausalLM

CAP = 30.0


class CappedHead(torch.nn.Linear):
    """Logits between -CAP and CAP, as Gemma 2 has them."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Smooth, so that every logit still has a gradient."""
        return CAP * torch.tanh(super().forward(states) / CAP)


class CappedQwen3(Qwen3ForCausalLM):
    """Qwen3 with that head: its weights are Qwen3's, so every checkpoint of Qwen3 is one of it."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.lm_head = CappedHead(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class CappedLoader(ModelLoader):
    """What ms-swift makes the model with; `get_config` and `get_processor` are to be overridden likewise."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.auto_model_cls = CappedQwen3


register_template(
    TemplateMeta(
        "worded",
        prefix=[],
        prompt=["Question: {{QUERY}}\nAnswer: "],
        chat_sep=["\n\n"],
        system_prefix=["{{SYSTEM}}\n\n"],
    )
)
register_model(
    ModelMeta(
        "capped_qwen3",
        [ModelGroup([Model("Qwen/Qwen3-0.6B-Base", "Qwen/Qwen3-0.6B-Base")])],
        CappedLoader,
        template="worded",
        architectures=["Qwen3ForCausalLM"],
    )
)
