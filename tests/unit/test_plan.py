"""plan(): pure data from a lab and a profile."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from gpulab import labrun, order
from gpulab.errors import UsageError
from gpulab.lab import find_lab, load_lab
from gpulab.machine import Gpu, Machine
from gpulab.plan import plan
from gpulab.script import LocalShell, as_script
from gpulab.stacks import load_stack

H100 = Gpu("NVIDIA H100 80GB HBM3", 79.6, 79.0, "GPU-1")


def machine(*gpus: Gpu) -> Machine:
    return Machine("host", "Debian", "a CPU", 8, 64.0, "3.11", list(gpus))


def make(lab, profile, tmp_path, settings=None, hub="modelscope"):
    stack = load_stack("cpu" if profile == "cpu" else lab.stack)
    return plan(lab, profile, stack, tmp_path / "run", settings or {}, {"base": 8000, "serve": 8001}, hub)


def test_a_rehearsal_adds_only_differences_and_set_goes_above_them(write_lab, tmp_path):
    lab = load_lab(write_lab())
    written = make(lab, "gpu", tmp_path).command("train").argv
    rehearsed = make(lab, "cpu", tmp_path, {"train": {"max_steps": "7"}}).command("train").argv
    assert written[:5] == ("swift", "sft", "train.yaml", "--model", "Org/Tiny-1B")
    assert "--max_steps" not in written
    assert rehearsed[:4] == written[:4]
    assert rehearsed[4].endswith("/Tiny-1B"), "the twin lies in a folder named like the model"
    assert rehearsed[rehearsed.index("--max_steps") + 1] == "7"
    assert rehearsed[rehearsed.index("--use_cpu") + 1] == "true"


def test_makes_and_proves_are_the_same_in_both_profiles(tmp_path):
    lab = find_lab("quickstart")
    contract = {p: {c.step: (c.makes, c.proves) for c in make(lab, p, tmp_path).commands} for p in ("gpu", "cpu")}
    contract["cpu"].pop("twin")
    assert contract["cpu"] == contract["gpu"]


def test_the_labs_own_line_goes_above_what_is_added_always(write_lab, tmp_path):
    lab = load_lab(write_lab(("{model}\n", "{model} --report_to tensorboard\n")))
    argv = make(lab, "gpu", tmp_path).command("train").argv
    assert argv.count("--report_to") == 1
    assert argv[argv.index("--report_to") + 1] == "tensorboard"


def test_a_server_runs_until_its_last_user(tmp_path):
    planned = make(find_lab("quickstart"), "cpu", tmp_path)
    assert (planned.command("base").until, planned.command("serve").until) == ("before", "after")
    assert planned.command("chat").argv[2] == planned.command("serve").url == "http://127.0.0.1:8001/v1"


def test_the_hub_is_ms_swifts_own_switch(write_lab, tmp_path):
    lab = load_lab(write_lab())
    assert make(lab, "gpu", tmp_path, hub="hf").command("train").env["USE_HF"] == "1"
    assert "USE_HF" not in make(lab, "gpu", tmp_path).command("train").env


def test_a_gpu_that_meets_the_needs_runs_the_real_model_and_rehearse_overrides_it():
    lab = find_lab("quickstart")
    assert labrun.choose_profile(lab, [machine(H100)], rehearse=False)[0] == "gpu"
    assert labrun.choose_profile(lab, [machine(H100)], rehearse=True)[0] == "cpu"


@pytest.mark.parametrize("gpus", [(), (Gpu("small", 4.0, 4.0, "GPU-2"),), (Gpu("busy", 80.0, 1.0, "GPU-3"),)])
def test_without_a_fitting_gpu_it_says_in_a_line_that_it_rehearses(gpus):
    profile, why = labrun.choose_profile(find_lab("quickstart"), [machine(*gpus)], rehearse=False)
    assert profile == "cpu"
    assert "needs 1 GPU with 8 GiB" in why
    assert "rehearsing on the CPU with a tiny twin of Qwen/Qwen3-0.6B" in why


def test_a_lab_that_cannot_be_rehearsed_says_why(write_lab):
    lab = load_lab(write_lab(("twin: qwen3", "impossible: needs FP8 tensor cores")))
    with pytest.raises(UsageError, match="can't be rehearsed on a CPU: needs FP8 tensor cores"):
        labrun.choose_profile(lab, [machine()], rehearse=False)


def test_dry_on_a_gpu_prints_the_real_models_script_and_runs_nothing(monkeypatch, runs):
    monkeypatch.setattr(order, "this_machine", lambda: machine(H100))
    outcome = labrun.run_lab("quickstart", rehearse=False, dry=True, settings=[], keep_serving=False, hub="hf")
    script = outcome.data["plan"]
    assert "swift sft train.yaml --model Qwen/Qwen3-0.6B" in script
    assert "export USE_HF=1" in script
    assert "use_cpu" not in script
    assert not runs.exists()


def test_the_script_is_valid_shell_that_hides_no_folder(tmp_path):
    script = as_script(LocalShell(make(find_lab("quickstart"), "cpu", tmp_path)))
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    body = script[script.index("== twin") :]
    assert str(tmp_path) not in body, "the run's folder is a variable"
    assert re.search(r'--output_dir "\$RUN"/train\b', body)


def test_the_script_quotes_what_a_shell_would_read(write_lab, tmp_path):
    lab = load_lab(write_lab(("--temperature 0", """--system 'Say "$HOME" & `id`; '""")))
    words = as_script(LocalShell(make(lab, "gpu", tmp_path))).splitlines()
    line = next(w for w in words if w.startswith("swift infer"))
    printed = subprocess.run(
        ["bash", "-c", f"RUN=/r; swift() {{ printf '%s\\n' \"$@\"; }}; {line}"],
        capture_output=True, text=True, check=True, env=dict(os.environ),
    ).stdout  # fmt: skip
    assert 'Say "$HOME" & `id`; \n' in printed
