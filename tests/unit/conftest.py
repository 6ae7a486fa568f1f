"""Labs and runs of a test's own, so that nothing of the repository's is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

LAB = """\
title: A lab of the tests
upstream: examples/none
curriculum: none
stack: cpu
model: Org/Tiny-1B
needs: {gpus: 1, vram_gib: 8}
steps:
  train:
    run: swift sft train.yaml --model {model}
    makes: [logging.jsonl]
    proves: [loss falls]
  chat:
    run: swift infer --adapters {train}/last-checkpoint --temperature 0
rehearse:
  twin: qwen3
  train: {max_steps: 3}
"""

WriteLab = Callable[..., Path]


@pytest.fixture
def write_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteLab:
    """write_lab(old=new, ...): a good lab with pieces of its text replaced; its folder."""
    monkeypatch.setattr("gpulab.lab.lab.LABS", tmp_path / "labs")
    monkeypatch.setattr("gpulab.reports.labs.LABS", tmp_path / "labs")

    def write(*replacements: tuple[str, str], name: str = "start/tiny", text: str = LAB) -> Path:
        folder = tmp_path / "labs" / name
        folder.mkdir(parents=True, exist_ok=True)
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (folder / "lab.yaml").write_text(dedent(text))
        (folder / "train.yaml").write_text("dataset: data.jsonl\nlearning_rate: 1.0e-4\n")
        (folder / "data.jsonl").touch()
        return folder

    return write


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runs folder of the test's own."""
    monkeypatch.setenv("GPULAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of this machine's own programs: no venv is made, and none is asked for its packages."""
    monkeypatch.setattr("gpulab.engines.local.LocalBackend.prepare", lambda _: None)
    monkeypatch.setattr("gpulab.stacks.stack.Stack.packages", lambda _: {})
