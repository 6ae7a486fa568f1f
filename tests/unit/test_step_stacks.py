"""A step that is rehearsed in another stack than the rest: its programs, its environment, its place in the script."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.engines import choose_engine
from gpulab.engines.local import LocalBackend
from gpulab.lab.lab import load_lab
from gpulab.records.read import all_runs, read
from gpulab.runs.execute import run_lab
from gpulab.runs.request import LabRequest
from gpulab.runs.spec import RunSpec, stacks_of
from gpulab.stacks import stack as stacks
from gpulab.stacks.stack import load_stack
from tests.unit.conftest import WriteLab

LAB = """\
title: Two stacks
upstream: examples/none
curriculum: none
stack: train
needs: {gpus: 1}
steps:
  usual:
    run: tool {out}/said.txt
    makes: [said.txt]
  other:
    run: tool {out}/said.txt
    makes: [said.txt]
rehearse:
  other: {stack: vllm-cpu}
"""
TOOL = '#!/bin/sh\necho "$(basename "$(dirname "$(dirname "$0")")") ${VLLM_PLUGINS:-}" > "$1"\n'


@pytest.fixture
def lab(write_lab: WriteLab, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab's folder, and two stacks that have one program each."""
    monkeypatch.setattr(stacks, "STACKS", tmp_path / "stacks")
    for name in ("cpu", "vllm-cpu"):
        made = load_stack(name)
        made.bin.mkdir(parents=True)
        (made.bin / "tool").write_text(TOOL)
        (made.bin / "tool").chmod(0o755)
        (made.venv / "complete").write_text(str(made.venv.resolve()))
    return write_lab(text=LAB)


def said(folder: Path) -> list[str]:
    return [(folder / step / "said.txt").read_text().strip() for step in ("usual", "other")]


def test_each_step_finds_its_program_and_its_environment_in_its_own_stack(lab, tmp_path):
    assert run_lab(LabRequest("tiny", rehearse=True)).code == 0
    (run,) = all_runs()
    wanted = [load_stack("cpu").venv.name, f"{load_stack('vllm-cpu').venv.name} none"]
    assert said(run) == wanted
    again = subprocess.run(["bash", run / "plan.sh", tmp_path / "again"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert said(tmp_path / "again") == wanted, "plan.sh reproduces the run"


def test_a_record_has_every_stack_and_its_plan_has_them_again(lab):
    run_lab(LabRequest("tiny", rehearse=True))
    record = read(all_runs()[0])
    assert (record.stack["name"], list(record.stack["others"])) == ("cpu", ["vllm-cpu"])
    again = RunSpec.again(record, "again")
    assert {step: stack.name for step, stack in again.stacks.items()} == {"other": "vllm-cpu"}


def test_a_stack_that_is_gone_is_named_by_the_script(lab, tmp_path):
    run_lab(LabRequest("tiny", rehearse=True))
    (load_stack("vllm-cpu").venv / "complete").unlink()
    done = subprocess.run(["bash", all_runs()[0] / "plan.sh", tmp_path / "again"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 2
    assert "inv stacks --install vllm-cpu" in done.stderr
    assert not (tmp_path / "again/usual").exists(), "nothing was run"


def test_a_program_that_only_the_other_stack_lacks_is_refused_with_that_stacks_name(lab, runs):
    (load_stack("vllm-cpu").bin / "tool").unlink()
    with pytest.raises(UsageError, match="the stack vllm-cpu has no program 'tool'"):
        run_lab(LabRequest("tiny", rehearse=True))
    assert all_runs() == []


def test_on_gpus_all_steps_have_one_stack(lab):
    assert stacks_of(load_lab(lab), "gpu", load_stack("train")) == {}


def test_other_engines_than_local_have_one_stack_a_run():
    stack, others = load_stack("cpu"), [load_stack("vllm-cpu")]
    with pytest.raises(UsageError, match="rehearsed in cpu and vllm-cpu") as refused:
        choose_engine("docker", stack, others=others)
    assert refused.value.cure == "leave --engine and --hosts out"
    assert isinstance(choose_engine("", stack, others=others), LocalBackend)
