"""FlashAttention, compiled against the lock's torch."""

from __future__ import annotations

from tests.images.box import Box


def test_flash_attention_imports(here: Box) -> None:
    assert here.ask("imports.py", "flash_attn", "flash_attn_2_cuda") == {}
