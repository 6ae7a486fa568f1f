"""The rehearsals' image: torch's CPU build, and nothing of CUDA."""

from __future__ import annotations

from tests.images.box import Box


def test_what_rehearsals_import_is_there(here: Box) -> None:
    assert (
        here.ask("imports.py", "torch", "swift", "transformers", "peft", "trl", "evalscope", "msgspec", "rouge.rouge")
        == {}
    )


def test_no_cuda_is_in_it(here: Box) -> None:
    assert here.python("import torch; print(torch.version.cuda)") == "None"
    assert [name for name in here.ask("packages.py")["installed"] if name.startswith("nvidia-")] == []


def test_a_module_that_is_missing_is_seen(here: Box) -> None:
    assert "No module named" in here.ask("imports.py", "vllm")["vllm"]
