"""ms-swift with SGLang."""

from __future__ import annotations

from tests.images.box import Box


def test_what_serving_imports_is_there(here: Box) -> None:
    assert here.ask("imports.py", "torch", "swift", "sglang", "sglang.srt.server_args") == {}
