"""Megatron-Core and TransformerEngine, which was compiled here against the lock's torch."""

from __future__ import annotations

import json

from gpulab.lab.flags import known_flags
from gpulab.stacks.resolver import versions
from gpulab.stacks.stack import load_stack
from tests.images.box import Box

MODULES = "transformer_engine.pytorch megatron.core mcore_bridge swift.megatron"
ASK = """
from transformer_engine.pytorch.attention.dot_product_attention.utils import FlashAttentionUtils as known
print(known.max_version)
"""


def test_what_megatron_imports_is_there(here: Box) -> None:
    assert here.ask("imports.py", *MODULES.split()) == {}


def test_the_flash_attention_pinned_is_not_newer_than_transformer_engine_takes(here: Box) -> None:
    from packaging.version import Version

    pinned = Version(versions(load_stack("flash").lock.read_text())["flash-attn"])
    assert Version(pinned.base_version) <= Version(here.python(ASK).splitlines()[-1])


CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "num_hidden_layers": 2,
    "torch_dtype": "float32",
}
TWO_RANKS = """
mkdir -p /tmp/Qwen3-0.6B && cd /tmp && cat >Qwen3-0.6B/config.json
export NPROC_PER_NODE=2 GLOO_SOCKET_IFNAME=lo MASTER_ADDR=127.0.0.1
set -- --model /tmp/Qwen3-0.6B --dataset none.jsonl --tensor_model_parallel_size 2 --ddp_backend gloo "$@"
timeout 240 megatron sft "$@" 2>&1
"""


def started(here: Box, *flags: str) -> str:
    """What two ranks on the CPU say. With a whole model they get as far as "TransformerEngine needs CUDA"."""
    return here.run("sh", "-c", TWO_RANKS, "sh", *flags, stdin=json.dumps(CONFIG)).stdout


def test_the_flags_that_labs_are_checked_against_are_those_of_the_real_classes(here: Box) -> None:
    real = here.ask("megatron_flags.py")
    assert {name: sorted(flags) for name, flags in known_flags().items() if name.startswith("megatron ")} == real


def test_two_ranks_lay_out_their_groups_without_a_gpu(here: Box) -> None:
    said = started(here)
    assert "TP: 2, PP: 1" in said, said[-3000:]
    assert "args: MegatronSftArguments(" in said


def test_a_flag_that_megatron_does_not_know_is_refused(here: Box) -> None:
    said = started(here, "--no_such", "3")
    assert "remaining_argv: ['--no_such', '3']" in said, said[-3000:]
    assert "args: MegatronSftArguments(" not in said
