"""A notebook run without Jupyter: its parameters, its errors, and that its last cell sees whether the adapter was
loaded. ms-swift is a stand-in here; the lab practice/notebook runs it for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpulab.common.paths import LABS

RUNNER = LABS / "common/run_notebook.py"
NOTEBOOK = LABS / "practice/notebook/self-cognition.ipynb"
# Trained, it says the name that it was given; without an adapter it has none.
SWIFT = """\
from types import SimpleNamespace as N

def SftArguments(**given):
    return given

def sft_main(given):
    open("told", "w").write(given["model_name"][0])
    return {"last_model_checkpoint": "told", "global_step": 1, "log_history": [{"loss": 2.0}, {"loss": 1.0}]}

def InferRequest(messages):
    return messages

def RequestConfig(**given):
    return given

class TransformersEngine:
    def __init__(self, model, adapters, **given):
        self.name = open(adapters[0]).read() if adapters else "nobody"

    def infer(self, asked, config):
        return [N(choices=[N(message=N(content=f"I am {self.name}."))]) for _ in asked]
"""
TORCH = "class cuda:\n    is_available = staticmethod(lambda: False)\nfloat32 = bfloat16 = None\n"


def run(notebook: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(folder / "modules")}
    command = [sys.executable, RUNNER, notebook, folder, *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with stand-ins for what the notebook imports."""
    for name, text in {
        "torch.py": TORCH, "swift/__init__.py": "", "swift/arguments.py": SWIFT, "swift/pipelines.py": SWIFT,
        "swift/infer_engine.py": SWIFT,
    }.items():  # fmt: skip
        file = tmp_path / "modules" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    return ["--output_dir", str(folder), "--questions", str(LABS / "common/data/who.jsonl"), *more]


def test_a_notebook_leaves_its_answers_and_itself_with_the_parameters_given(folder: Path) -> None:
    more = ("--name", "Ann", "--lora_rank", "4", "--dataset", "a#1", "b#2")
    done = run(NOTEBOOK, folder, *words(folder, *more))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "infer_result.jsonl").read_text().splitlines()]
    assert {row["response"] for row in rows} == {"I am Ann."}
    cells = json.loads((folder / NOTEBOOK.name).read_text())["cells"]
    (given,) = [cell for cell in cells if cell["metadata"].get("tags") == ["injected-parameters"]]
    assert given["source"].splitlines()[2:] == ["name = 'Ann'", "lora_rank = 4", "dataset = ['a#1', 'b#2']"]


def test_the_notebooks_last_cell_fails_where_the_adapter_was_not_loaded(folder: Path) -> None:
    done = run(NOTEBOOK, folder, *words(folder, "--with_adapter", "false"))
    assert done.returncode == 1
    assert "AssertionError: 0 of 16 answers say swift-robot: is the adapter loaded?" in done.stderr


def test_a_parameter_that_the_notebook_does_not_have_is_one_line(folder: Path) -> None:
    done = run(NOTEBOOK, folder, "--lora_rang", "4")
    assert (done.returncode, done.stderr) == (1, "the notebook has no parameter lora_rang\n")
