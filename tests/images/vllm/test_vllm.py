"""ms-swift with vLLM."""

from __future__ import annotations

from tests.images.box import Box


def test_what_serving_imports_is_there(here: Box) -> None:
    assert here.ask("imports.py", "torch", "swift", "vllm", "vllm.entrypoints.openai.api_server", "flashinfer") == {}
