"""ms-swift's GPTQ export."""

from __future__ import annotations

from tests.images.box import Box


def test_what_the_export_imports_is_there(here: Box) -> None:
    assert here.ask("imports.py", "torch", "swift", "gptqmodel", "optimum.gptq") == {}
