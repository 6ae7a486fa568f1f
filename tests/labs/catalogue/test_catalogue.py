"""Every lab that one process a step can rehearse: it proves itself, and its first break is seen. All through one warm
process, which finds what the commands find. The quickstart has tests of its own, as have labs of several ranks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gpulab.common.paths import LABS
from gpulab.inside.answers import answers_in
from gpulab.inside.metrics import training_log
from gpulab.lab.lab import Lab, lab_names, load_lab
from gpulab.runs.rehearse import seen

pytestmark = pytest.mark.rehearsal


def alone(lab: Lab) -> bool:
    """Whether it can be rehearsed in the stack that most are, which this machine has, with one process a step."""
    steps = lab.steps.values()
    stacks = {lab.rehearse.stack, *(own.stack or "cpu" for own in lab.rehearse.steps.values())}
    here = stacks == {"cpu"} and not lab.rehearse.impossible
    return here and not any(step.spread or (step.processes or 1) > 1 for step in steps)


CATALOGUE = [lab for name in lab_names() if name != "start/quickstart" and alone(lab := load_lab(LABS / name))]


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("tried", CATALOGUE, ids=lambda tried: tried.name)
def test_a_lab_proves_itself(lab: Any, tried: Lab) -> None:
    run = lab(tried.name, "--rehearse", "--json")
    code, out, err = run.finish()
    assert code == 0, json.loads(out)["failures"] + [err[-2000:]]
    assert all(proof["holds"] for step in run.record["steps"] for proof in step.get("proofs", []))


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("tried", [lab for lab in CATALOGUE if lab.breaks], ids=lambda tried: tried.name)
def test_a_labs_first_break_is_seen_by_the_proof_that_it_names(lab: Any, tried: Lab) -> None:
    broken = tried.breaks[0]
    words = [word for setting in broken.settings for word in ("--set", setting)]
    run = lab(tried.name, "--rehearse", "--only", ",".join(tried.to_break(broken)), *words)
    code, out, err = run.finish()
    assert code == 1, out + err[-2000:]
    assert seen(run.folder, broken) == []


def test_plan_sh_reproduces_what_the_forks_found_to_the_last_byte(lab: Any, tmp_path: Path) -> None:
    """A run's own script has the commands as they are: the same losses, weights and answers."""
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
