"""Training on GPUs, and all that a GRPO run imports undeclared."""

from __future__ import annotations

from tests.images.box import Box

MODULES = "deepspeed liger_kernel bitsandbytes evalscope ray swanlab msgspec math_verify qwen_vl_utils decord awq"


def test_what_training_imports_is_there(here: Box) -> None:
    assert here.ask("imports.py", *MODULES.split()) == {}


def test_an_operator_of_deepspeed_compiles(here: Box) -> None:
    assert here.ask("deepspeed_operator.py", timeout=1200)
