"""ms-swift with LMDeploy."""

from __future__ import annotations

from tests.images.box import Box


def test_what_serving_imports_is_there(here: Box) -> None:
    assert here.ask("imports.py", "torch", "swift", "lmdeploy", "lmdeploy.serve.openai.api_server") == {}
