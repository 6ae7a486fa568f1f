"""plan(): pure data from a lab and a profile."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from gpulab.common.errors import UsageError
from gpulab.lab.lab import find_lab, load_lab
from gpulab.plan.layers import additions
from gpulab.plan.layout.step import Devices
from gpulab.plan.machine import Gpu, Machine
from gpulab.plan.make import plan
from gpulab.plan.plan import Node, PlanSpec, Site
from gpulab.plan.script import LocalShell, as_script
from gpulab.runs.dry import dry
from gpulab.runs.execute import run_lab
from gpulab.runs.request import LabRequest
from gpulab.runs.resolve import asked_ports, choose_profile
from gpulab.stacks.stack import load_stack

H100 = Gpu("NVIDIA H100 80GB HBM3", 79.6, 79.0, "GPU-1")


def machine(*gpus: Gpu) -> Machine:
    return Machine("host", "Debian", "a CPU", 8, 64.0, "3.11", list(gpus))


def make(lab, profile, tmp_path, settings=None, hub="modelscope"):
    stack = load_stack("cpu" if profile == "cpu" else lab.stack)
    ports = {"base": 8000, "serve": 8001}
    spec = PlanSpec(lab=lab, profile=profile, stack=stack, settings=settings or {}, ports=ports, hub=hub)
    return plan(spec, tmp_path / "run")


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
    assert rehearsed[rehearsed.index("--gradient_checkpointing") + 1] == "false", "a twin needs no memory saved"
    assert "--gradient_checkpointing" not in written


def test_a_lab_that_shows_gradient_checkpointing_rehearses_it(write_lab, tmp_path):
    own = {"train": {"gradient_checkpointing": "true"}}
    argv = make(load_lab(write_lab()), "cpu", tmp_path, own).command("train").argv
    assert [argv[i + 1] for i, word in enumerate(argv) if word == "--gradient_checkpointing"] == ["true"]


def test_every_training_that_resumes_has_its_flags_for_a_folder_and_for_a_cpu():
    added = additions()
    trainings = {command.removesuffix(" lora") for command in added["resume"]}
    assert {kind: trainings - set(added[kind]) for kind in ("always", "cpu")} == {"always": set(), "cpu": set()}


def test_a_rehearsal_may_have_fewer_ranks_than_the_lab_asks_for(write_lab, tmp_path):
    lab = load_lab(
        write_lab(
            ("    makes: [logging.jsonl]\n", "    makes: [logging.jsonl]\n    processes: 8\n"),
            ("{max_steps", "{processes: 2, max_steps"),
        )
    )
    ranks = {profile: make(lab, profile, tmp_path).command("train") for profile in ("gpu", "cpu")}
    assert {name: command.world for name, command in ranks.items()} == {"gpu": 8, "cpu": 2}
    assert {name: command.env["NPROC_PER_NODE"] for name, command in ranks.items()} == {"gpu": "8", "cpu": "2"}


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
    assert choose_profile(lab, [machine(H100)], rehearse=False)[1] == "gpu"
    assert choose_profile(lab, [machine(H100)], rehearse=True)[1] == "cpu"


@pytest.mark.parametrize("gpus", [(), (Gpu("small", 4.0, 4.0, "GPU-2"),), (Gpu("busy", 80.0, 1.0, "GPU-3"),)])
def test_without_a_fitting_gpu_it_says_in_a_line_that_it_rehearses(gpus):
    _, profile, why = choose_profile(find_lab("quickstart"), [machine(*gpus)], rehearse=False)
    assert profile == "cpu"
    assert "needs 1 GPU with 8 GiB" in why
    assert "rehearsing on the CPU with a tiny twin of Qwen/Qwen3-0.6B" in why


def test_a_lab_that_cannot_be_rehearsed_says_why(write_lab):
    lab = load_lab(write_lab(("twin: qwen3", "impossible: needs FP8 tensor cores")))
    with pytest.raises(UsageError, match="can't be rehearsed on a CPU: needs FP8 tensor cores"):
        choose_profile(lab, [machine()], rehearse=False)


def test_dry_on_a_gpu_prints_the_real_models_script_and_runs_nothing(monkeypatch, runs):
    monkeypatch.setattr("gpulab.runs.spec.this_machine", lambda: machine(H100))
    outcome = dry(LabRequest("quickstart", hub="hf"))
    script = outcome.data["plan"]
    assert "swift sft train.yaml --model Qwen/Qwen3-0.6B" in script
    assert "export USE_HF=1" in script
    assert "use_cpu" not in script
    assert not runs.exists()


@pytest.mark.parametrize("nodes", [-3, -1])
def test_a_run_on_fewer_nodes_than_one_is_refused(runs, nodes):
    with pytest.raises(UsageError, match=f"--nodes {nodes:g}: not a positive number"):
        run_lab(LabRequest("train/multi-node", rehearse=True, nodes=nodes))
    assert not runs.exists()


def test_dry_shows_a_lab_that_can_be_neither_run_nor_rehearsed_here(monkeypatch, runs):
    monkeypatch.setattr("gpulab.runs.spec.this_machine", lambda: machine())
    script = dry(LabRequest("train/liger")).data["plan"]
    assert "--use_liger_kernel true" in script
    with pytest.raises(UsageError, match="can't be rehearsed"):
        dry(LabRequest("train/liger", rehearse=True))


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


SPREAD = ("    makes: [logging.jsonl]\n", "    makes: [logging.jsonl]\n    spread: true\n")
ALONE = ("    run: swift infer --adapters {train}/last-checkpoint", "    run: swift infer --model {model}")


def spread_over(lab, tmp_path, *addresses, gpus=8):
    nodes = [Node(f"gpu{n}", address, "eth0") for n, address in enumerate(addresses)]
    site = Site(nodes=nodes, rendezvous="29411", devices=Devices(gpus, 80))
    return plan(PlanSpec(lab=lab, profile="gpu", stack=load_stack("cpu")), tmp_path / "run", site)


def test_nodes_are_told_their_rank_in_ms_swifts_own_names(write_lab, tmp_path):
    lab = load_lab(write_lab(SPREAD, ("gpus: 1", "gpus: 4")))
    first, second = spread_over(lab, tmp_path, "10.0.0.1", "10.0.0.2").ranks("train")
    told = {"NNODES": "2", "NODE_RANK": "1", "NPROC_PER_NODE": "4", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29411"}
    assert told.items() <= second.env.items()
    assert (first.env["NODE_RANK"], first.world) == ("0", 8)


def test_a_launcher_is_told_on_its_line_and_ms_swift_then_starts_no_ranks_of_its_own(write_lab, tmp_path):
    launched = (
        "run: swift sft", "run: torchrun --nnodes {nnodes} --node_rank {node_rank} --nproc_per_node {processes}"
        " --master_addr {master_addr} --master_port {master_port} --no_python swift sft",
    )  # fmt: skip
    lab = load_lab(write_lab(launched, SPREAD))
    second = spread_over(lab, tmp_path, "10.0.0.1", "10.0.0.2").ranks("train")[1]
    words = (
        "torchrun --nnodes 2 --node_rank 1 --nproc_per_node 1 --master_addr 10.0.0.1 --master_port 29411 --no_python"
    )
    assert second.argv[:12] == tuple(words.split())
    assert second.argv[12:14] == ("swift", "sft")
    assert not {"NNODES", "NODE_RANK", "NPROC_PER_NODE", "MASTER_PORT"} & second.env.keys()
    assert second.world == 2


def test_what_a_host_sets_for_nccl_reaches_its_node_and_the_labs_own_word_is_the_last(write_lab, tmp_path):
    own = (
        "    makes: [logging.jsonl]\n",
        "    makes: [logging.jsonl]\n    spread: true\n    env: {NCCL_DEBUG: INFO}\n",
    )
    rails = {"NCCL_IB_HCA": "mlx5_0,mlx5_3", "NCCL_DEBUG": "WARN"}
    nodes = [Node("gpu1", "10.0.0.1", "ib0", nccl=rails), Node("gpu2", "10.0.0.2", "ib0")]
    site = Site(nodes=nodes, devices=Devices(8, 80))
    made = plan(PlanSpec(lab=load_lab(write_lab(own)), profile="gpu", stack=load_stack("cpu")), tmp_path / "run", site)
    first, second = (command.env for command in made.ranks("train"))
    assert (first["NCCL_IB_HCA"], first["NCCL_DEBUG"], first["NCCL_SOCKET_IFNAME"]) == ("mlx5_0,mlx5_3", "INFO", "ib0")
    assert "NCCL_IB_HCA" not in second


def test_a_step_sees_no_more_gpus_than_it_needs(write_lab, tmp_path):
    """Over all that it sees, one process would spread its model."""
    lab = load_lab(write_lab(SPREAD, ("gpus: 1", "gpus: 2")))
    nodes = [Node("gpu1", "10.0.0.1", "eth0"), Node("gpu2", "10.0.0.2", "eth0")]
    site = Site(nodes=nodes, devices=Devices(4, 80), visible=[[2, 3, 0, 1], [0, 1]])
    made = plan(PlanSpec(lab=lab, profile="gpu", stack=load_stack("cpu")), tmp_path / "run", site)
    seen = [command.env.get("CUDA_VISIBLE_DEVICES") for command in made.ranks("train")]
    assert seen == ["2,3", None]  # the second node has no more than it needs


def test_a_rehearsal_sees_no_gpu_though_the_step_names_one(write_lab, tmp_path):
    named = ("    makes: [logging.jsonl]\n", "    makes: [logging.jsonl]\n    env: {CUDA_VISIBLE_DEVICES: '0'}\n")
    lab = load_lab(write_lab(named))
    seen = [make(lab, profile, tmp_path).command("train").env["CUDA_VISIBLE_DEVICES"] for profile in ("gpu", "cpu")]
    assert seen == ["0", ""]


@pytest.mark.parametrize(("allowed", "order"), [("", [0, 2, 1]), ("1,2", [2, 1]), ("GPU-9", []), ("7", [])], ids=str)
def test_gpus_with_the_memory_free_come_first_and_only_those_that_the_caller_may_see(allowed, order):
    here = machine(H100, Gpu("busy", 80.0, 1.0, "GPU-3"), H100)
    assert here.in_order(find_lab("quickstart").needs, allowed) == order


def test_a_run_takes_the_free_gpu(monkeypatch, runs):
    monkeypatch.setattr("gpulab.runs.spec.this_machine", lambda: machine(Gpu("busy", 80.0, 1.0, "GPU-3"), H100))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "CUDA_VISIBLE_DEVICES=1" in dry(LabRequest("quickstart")).data["plan"]


def test_a_step_that_cannot_run_here_is_left_out_with_the_reason(write_lab, tmp_path):
    more_gpus = load_lab(write_lab(("    makes: [logging.jsonl]\n", "    gpus: 4\n"), ALONE))
    assert spread_over(more_gpus, tmp_path, "10.0.0.1", gpus=2).left_out == {"train": "it needs 4 GPUs, here are 2"}
    assert not spread_over(more_gpus, tmp_path, "10.0.0.1", gpus=4).left_out
    apart = load_lab(write_lab((SPREAD[0], f"{SPREAD[1]}    apart: true\n"), ALONE))
    here = spread_over(apart, tmp_path, "127.0.0.1", "127.0.0.1")
    assert "an address each" in here.left_out["train"]
    assert here.steps == ("chat",)
    assert not spread_over(apart, tmp_path, "10.0.0.1", "10.0.0.2").left_out
    cpu = load_lab(write_lab(("train: {max_steps: 3}", "train: {impossible: no FP8 here}"), ALONE))
    assert make(cpu, "cpu", tmp_path).left_out == {"train": "no FP8 here"}
    assert not make(cpu, "gpu", tmp_path).left_out


def test_a_rehearsals_own_environment_goes_above_the_steps(write_lab, tmp_path):
    lab = load_lab(write_lab(("{max_steps: 3}", '{max_steps: 3, env: {CUDA_VISIBLE_DEVICES: "0"}}')))
    assert make(lab, "cpu", tmp_path).command("train").env["CUDA_VISIBLE_DEVICES"] == "0"
    assert "--env" not in make(lab, "cpu", tmp_path).command("train").argv


def test_a_port_that_is_set_is_the_first_one_tried_and_no_flag_stands_against_a_free_one(tmp_path):
    lab, settings = find_lab("quickstart"), {"serve": {"port": "8123", "temperature": "0"}}
    assert asked_ports(lab, settings) == {"base": 8000, "serve": 8123}
    assert settings["serve"]["port"] == "8123", "what the caller set stays as it is"
    spec = PlanSpec(
        lab=lab, profile="cpu", stack=load_stack("cpu"), settings=settings, ports={"base": 1, "serve": 8124}
    )
    argv = plan(spec, tmp_path).command("serve").argv
    assert argv[argv.index("--port") + 1] == "8124"
    assert "8123" not in argv
    for wrong in ("0", "65536", "\u00b2", "-1", ""):
        with pytest.raises(UsageError, match="not a port"):
            asked_ports(lab, {"serve": {"port": wrong}})
