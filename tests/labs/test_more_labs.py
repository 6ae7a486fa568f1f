"""Labs are data: two more, with no Python written for them; and plan.sh alone reproduces a run."""

from __future__ import annotations

import subprocess

import pytest

from gpulab.answers import answers_in

pytestmark = pytest.mark.rehearsal


def test_tuners_are_compared_in_one_table(lab):
    run = lab("tuners")
    code, out, err = run.finish()
    assert code == 0, out + err
    table = (run.folder / "comparison.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[2:5] for line in table.splitlines() if line.startswith("| ")}
    lora, dora, full = (float(cell) for cell in rows["trainable parameters (M)"])
    assert lora < dora < full
    assert "last loss" in out, "the table is printed too"


def test_transformers_inference_and_its_plan_sh_reproduces_it(lab, tmp_path):
    run = lab("infer/transformers")
    code, out, err = run.finish()
    assert code == 0, out + err
    again = tmp_path / "again"
    done = subprocess.run(["bash", run.folder / "plan.sh", again], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert answers_in(again / "batch") == answers_in(run.folder / "batch") != []
