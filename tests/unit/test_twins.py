"""The registry of twins: what there is, without the libraries that make one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.inside import twins
from gpulab.lab.lab import find_lab, load_lab
from gpulab.plan.lab_twins import twin_folder
from gpulab.plan.make import plan
from gpulab.plan.plan import PlanSpec
from gpulab.stacks.stack import load_stack


def test_an_unknown_family_is_refused_when_the_lab_is_read(write_lab):
    with pytest.raises(UsageError, match=r"lab\.yaml:\d+: no family of twins 'qwen4'") as caught:
        load_lab(write_lab(("twin: qwen3", "twin: qwen4")))
    assert all(family in caught.value.cure for family in twins.families())


def test_a_family_is_known_by_its_file_alone(write_lab, tmp_path, monkeypatch):
    (tmp_path / "families").mkdir()
    (tmp_path / "families/newer.py").write_text("import no_such_library\n")
    monkeypatch.setattr(twins, "FOLDER", tmp_path)
    assert twins.families() == ["newer"]
    assert load_lab(write_lab(("twin: qwen3", "twin: newer"))).rehearse.twin == "newer"


def test_the_command_runs_by_its_folder_from_anywhere(tmp_path):
    words = [sys.executable, str(ROOT / "gpulab/inside/twins"), "nosuch", str(tmp_path / "Model")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "qwen3" in done.stderr, "it names the families"


def test_a_change_of_what_makes_a_twin_makes_another_one(tmp_path, monkeypatch):
    before = twin_folder(find_lab("quickstart"))
    (tmp_path / "teaching.py").write_text("# anew\n")
    monkeypatch.setattr(twins, "sources", lambda: [tmp_path / "teaching.py"])
    after = twin_folder(find_lab("quickstart"))
    assert before.name == after.name and before != after


def test_a_rehearsal_may_need_another_stack_for_a_cpu_and_its_environment(write_lab, tmp_path):
    lab = load_lab(write_lab(("rehearse:\n", "rehearse:\n  stack: cpu-multimodal\n")))
    spec = PlanSpec(lab=lab, profile="cpu", stack=load_stack(lab.rehearse.stack))
    made = plan(spec, tmp_path / "run")
    shim = Path(made.command("train").env["PYTHONPATH"])
    assert (shim / "sitecustomize.py").is_file() and made.command("twin").env["PYTHONPATH"] == str(shim)


def test_a_rehearsal_in_a_stack_for_gpus_is_refused(write_lab):
    with pytest.raises(UsageError, match=r"lab\.yaml:\d+: no stack 'train' for a CPU") as caught:
        load_lab(write_lab(("rehearse:\n", "rehearse:\n  stack: train\n")))
    assert "cpu-multimodal" in caught.value.cure
