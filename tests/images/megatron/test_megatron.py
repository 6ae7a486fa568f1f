"""Megatron-Core and TransformerEngine, which was compiled here against the lock's torch."""

from __future__ import annotations

from gpulab.resolver import versions
from gpulab.stacks import load_stack
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
