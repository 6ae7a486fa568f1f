"""A run's own script has the commands as they are: what they find is what the forks of a warm process found."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from gpulab.inside.answers import answers_in
from gpulab.inside.metrics import training_log

pytestmark = [pytest.mark.rehearsal, pytest.mark.usefixtures("shared")]


def test_plan_sh_reproduces_what_the_forks_found_to_the_last_byte(lab: Any, tmp_path: Path) -> None:
    """The same losses, weights and answers."""
    run = lab("infer/lora", "--rehearse", "--only", "adapter")
    code, out, err = run.finish()
    assert code == 0, out + err
    again = tmp_path / "again"
    done = subprocess.run(["bash", run.folder / "plan.sh", again], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    losses = [[row["loss"] for row in training_log(folder / "train")] for folder in (run.folder, again)]
    assert losses[0] == losses[1] != []
    adapter = "train/last-checkpoint/adapter_model.safetensors"
    assert (run.folder / adapter).read_bytes() == (again / adapter).read_bytes()
    assert answers_in(again / "adapter") == answers_in(run.folder / "adapter") != []
    assert "run sh:" in (run.folder / "logs/train.log").read_text(), "by ms-swift's own command"
