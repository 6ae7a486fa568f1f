"""`inv plan`, on labs of the test's own: what it shows, what it refuses, and that it asks and starts nobody."""

from __future__ import annotations

import json
import math
import subprocess

import pytest
from rich.console import Console

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.hosts import ssh
from gpulab.lab.lab import load_lab
from gpulab.plan.layout.step import Devices
from gpulab.plan.machine import Gpu, Machine
from gpulab.plan.make import plan
from gpulab.plan.plan import Node, PlanSpec, Site
from gpulab.runs import preview as planning
from gpulab.runs.plan_page import SHOWN
from gpulab.runs.spec import offered
from gpulab.stacks.stack import load_stack

LAYOUT = " ".join(
    f"--{flag} {{layout.{axis}}}"
    for axis, flag in {
        "tensor": "tensor_model_parallel_size", "pipeline": "pipeline_model_parallel_size",
        "context": "context_parallel_size", "expert": "expert_model_parallel_size",
    }.items()
)  # fmt: skip
LAB = f"""\
title: Megatron over nodes
upstream: examples/megatron/multi-node
curriculum: none
stack: megatron
model: Qwen/Qwen3-32B
needs: {{nodes: 2, gpus: 8, vram_gib: 80}}
steps:
  train:
    run: >-
      megatron sft --model {{model}} {LAYOUT} --sequence_parallel true --max_length 8192
      --micro_batch_size 1 --global_batch_size 16 --recompute_granularity full
    spread: true
  chat:
    run: swift infer --model {{train}}/last --max_new_tokens 8
rehearse:
  impossible: a test's
"""


@pytest.fixture
def lab(write_lab):
    """lab(old=new, ...): the Megatron lab; `inv plan`'s outcome for it by the name `tiny`."""

    def write(*replacements):
        return load_lab(write_lab(*replacements, text=LAB))

    return write


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    """Nothing may be asked over ssh, and nothing but ansible-inventory be started."""
    real = subprocess.run

    def run(command, *args, **options):
        assert "ansible-inventory" in str(command[0]), f"started {command}"
        return real(command, *args, **options)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(ssh, "ask", lambda *_, **__: pytest.fail("asked a host"))


def page(outcome) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as captured:
        console.print(outcome.text)
    return captured.get()


def inventory(tmp_path, count):
    rows = [f"gpu{n} ansible_host=198.18.{n // 256}.{n % 256}" for n in range(1, count + 1)]
    path = tmp_path / "gpus.ini"
    path.write_text("\n".join(["[gpu]", *rows, ""]))
    return str(path)


def test_a_cluster_that_nobody_has_yet_is_planned(lab):
    lab()
    outcome = planning.show_plan("tiny", gpus=8, vram_gib=80)
    train, chat = outcome.data["steps"]
    assert not outcome.failures
    assert {k: train["layout"][k] for k in ("tensor", "pipeline", "context", "expert", "data")} == {
        "tensor": 8, "pipeline": 1, "context": 1, "expert": 1, "data": 2
    }  # fmt: skip
    assert len(train["ranks"]) == 16
    assert train["ranks"][9] == {
        "rank": 9, "node": "node2", "local_rank": 1, "devices": [1], "tp": 1, "cp": 0, "dp": 1, "pp": 0, "ep": 0
    }  # fmt: skip
    assert train["fits"] is True
    assert train["argv"][train["argv"].index("--tensor_model_parallel_size") + 1] == "8"
    assert train["rendezvous"] is None, "no address is known"
    assert chat["layout"] is None
    assert chat["nodes"] == 1
    json.dumps(outcome.data)


def test_people_see_the_layout_its_reasons_the_memory_and_who_is_where(lab):
    lab()
    text = page(planning.show_plan("tiny", gpus=8, vram_gib=80))
    assert "2 nodes with 8 GPUs of 80 GiB each (as asked, no host is known)" in text
    assert "tensor 8: with 4 a GPU would need" in text
    assert "\ntrain: megatron sft\n" in text
    assert "memory of a GPU: about" in text
    assert " fits" in text
    assert len([line for line in text.splitlines() if "node2" in line]) == 8


def test_what_is_set_is_planned_with_and_the_rest_is_chosen(lab):
    lab()
    outcome = planning.show_plan("tiny", gpus=8, vram_gib=80, settings=["train.tensor_model_parallel_size=4"])
    layout = outcome.data["steps"][0]["layout"]
    assert (layout["tensor"], layout["pipeline"]) == (4, 2)
    assert "tensor 4: as set" in layout["reasons"]


def test_an_impossible_layout_is_refused(lab):
    lab()
    with pytest.raises(UsageError, match="64 attention heads can't be shared by a tensor parallel size of 3"):
        planning.show_plan("tiny", gpus=8, vram_gib=80, settings=["train.tensor_model_parallel_size=3"])


def test_a_plan_that_cannot_fit_is_a_failure_with_a_cure_that_does(lab):
    lab()
    (failure,) = planning.show_plan("tiny", nodes=1, gpus=4, vram_gib=80).failures
    assert failure.line.startswith("step train: does not fit: about ")
    cure = failure.cure.split()
    assert cure[0] == "--nodes"
    assert planning.show_plan("tiny", nodes=int(cure[1]), gpus=4, vram_gib=80).failures == []


def test_a_cure_of_flags_is_one_too(lab):
    lab(("--recompute_granularity full", "--recompute_granularity none"))
    (failure,) = planning.show_plan("tiny", nodes=1, gpus=8, vram_gib=80).failures
    words = failure.cure.split()
    settings = [word for word in words if word != "--set"]
    assert "train.recompute_granularity=full" in settings
    assert planning.show_plan("tiny", nodes=1, gpus=8, vram_gib=80, settings=settings).failures == []


def test_an_inventory_gives_names_and_addresses_and_no_host_is_asked(lab, tmp_path):
    lab()
    outcome = planning.show_plan("tiny", hosts=inventory(tmp_path, 3), nodes=2, gpus=8, vram_gib=80)
    train = outcome.data["steps"][0]
    assert {row["node"] for row in train["ranks"]} == {"gpu1", "gpu2"}
    assert train["rendezvous"] == {"address": "198.18.0.1", "port": 29400, "interface": None}
    assert "meet at 198.18.0.1:29400" in page(outcome)


def test_names_that_do_not_resolve_yet_are_no_mistake_in_a_plan(lab, tmp_path):
    lab()
    (tmp_path / "gpus.ini").write_text("[gpu]\nnew1.cluster.invalid\nnew2.cluster.invalid\n")
    outcome = planning.show_plan("tiny", hosts=str(tmp_path / "gpus.ini"), gpus=8, vram_gib=80)
    assert not outcome.failures


def test_more_nodes_than_the_inventory_has_are_refused(lab, tmp_path):
    lab()
    with pytest.raises(UsageError, match="4 nodes are asked for"):
        planning.show_plan("tiny", hosts=inventory(tmp_path, 3), nodes=4, gpus=8)


def test_a_thousand_hosts_are_shown_in_short_and_told_whole(lab, tmp_path):
    lab()
    outcome = planning.show_plan(
        "tiny", hosts=inventory(tmp_path, 1000), nodes=1000, gpus=8, vram_gib=80,
        settings=["train.global_batch_size=8000"],
    )  # fmt: skip
    ranks = outcome.data["steps"][0]["ranks"]
    assert len(ranks) == 8000
    assert ranks[-1]["node"] == "gpu1000"
    text = page(outcome)
    assert f"{8000 - SHOWN} more" in text
    assert len(text.splitlines()) < 70


def test_hosts_are_asked_where_no_gpus_are_named(lab, tmp_path, monkeypatch):
    lab()
    asked = []

    def compute_nodes(needs, hosts, limit, count, less):
        asked.append((needs.gpus, limit, count))
        raise UsageError("no host can be reached", "")

    monkeypatch.setattr(planning, "find_compute_nodes", compute_nodes)
    with pytest.raises(UsageError, match="no host can be reached"):
        planning.show_plan("tiny", hosts=inventory(tmp_path, 3), limit="gpu")
    assert asked == [(8, "gpu", 2)]


def test_this_machine_is_planned_for_and_where_it_has_no_gpu_what_the_lab_needs(lab, monkeypatch):
    lab()
    none = Machine("host", "Debian", "a CPU", 8, 64.0, "3.11", [])
    monkeypatch.setattr(planning, "this_machine", lambda: none)
    outcome = planning.show_plan("tiny")
    assert (outcome.data["gpus_per_node"], outcome.data["vram_gib"]) == (8, 80)
    assert "no GPU here" in page(outcome)


def test_what_all_machines_have_is_planned_with():
    of_80, of_40 = (Gpu("a GPU", vram, vram, "") for vram in (80.0, 40.0))
    machines = [Machine("", "", "", 1, 1, "", [of_80] * 8), Machine("", "", "", 1, 1, "", [of_40])]
    assert offered(machines) == Devices(1, 40)
    assert offered([*machines, Machine("", "", "", 1, 1, "", [])]) is None


@pytest.mark.parametrize(
    "wrong",
    [{"nodes": -1}, {"gpus": -8}, {"gpus": 10**9}, {"nodes": 10**9}]
    + [{"vram_gib": value} for value in (-1.0, math.nan, math.inf)],
)
def test_numbers_that_nothing_can_be_planned_with_are_refused(lab, wrong):
    lab()
    with pytest.raises(UsageError, match="positive"):
        planning.show_plan("tiny", **wrong)


@pytest.mark.parametrize(
    "setting",
    [
        "micro_batch_size=0", "global_batch_size=-16", "max_length=0", "tensor_model_parallel_size=\u00b2",
        "expert_tensor_parallel_size=0", "virtual_pipeline_model_parallel_size=0",
    ],
)  # fmt: skip
def test_a_size_that_is_none_is_refused_by_name(lab, setting):
    lab()
    with pytest.raises(UsageError, match=f"{setting} is no size") as caught:
        planning.show_plan("tiny", gpus=8, vram_gib=80, settings=[f"train.{setting}"])
    assert "number" in caught.value.cure


def test_ddp_deepspeed_and_device_map_are_planned_by_their_own_flags(write_lab):
    write_lab(
        ("model: Org/Tiny-1B", "model: Qwen/Qwen2.5-7B-Instruct"), ("gpus: 1, vram_gib: 8", "gpus: 4, vram_gib: 24")
    )
    one = planning.show_plan("tiny", gpus=4, vram_gib=24).data["steps"][0]
    assert one["ranks"] == [{"rank": 0, "node": one["ranks"][0]["node"], "local_rank": 0, "devices": [0, 1, 2, 3]}]
    full = planning.show_plan("tiny", gpus=4, vram_gib=24, settings=["train.tuner_type=full"])
    assert full.data["steps"][0]["memory_gib"]["total"] > one["memory_gib"]["total"]


def test_a_model_whose_shape_is_not_known_is_planned_without_an_estimate(write_lab):
    write_lab()
    outcome = planning.show_plan("tiny", gpus=1, vram_gib=8)
    assert [step["memory_gib"] for step in outcome.data["steps"]] == [None, None]
    assert "no estimate for this command or model" in page(outcome)


def test_the_plan_that_runs_has_the_choice_and_one_process_for_each_gpu(lab, tmp_path):
    nodes = [Node("a", "198.18.0.1", "eth0"), Node("b", "198.18.0.2", "eth0")]
    spec = PlanSpec(lab=lab(), profile="gpu", stack=load_stack("megatron"))
    made = plan(spec, tmp_path / "run", Site(nodes=nodes, devices=Devices(8, 80)))
    first, second = made.ranks("train")
    assert "{layout" not in " ".join(first.argv)
    assert first.env["NPROC_PER_NODE"] == second.env["NPROC_PER_NODE"] == "8"
    assert first.world == 16


def test_a_lab_with_an_unknown_part_of_a_layout_is_refused(lab):
    with pytest.raises(UsageError, match="unknown placeholder"):
        lab(("{layout.tensor}", "{layout.tensors}"))


def test_the_verb_prints_one_object_and_ends_with_0_1_or_2(monkeypatch):
    monkeypatch.undo()  # a process of its own
    words = [ROOT / "inv", "plan", "multi-node", "--gpus", "1", "--json"]
    ends = []
    for more in (["--vram-gib", "24"], ["--vram-gib", "2"], ["--vram-gib", "24", "--nodes", "-1"]):
        done = subprocess.run([*words, *more], capture_output=True, text=True, check=False)
        ends.append((done.returncode, json.loads(done.stdout)["ok"]))
    assert ends == [(0, True), (1, False), (2, False)]


def test_a_placeholder_that_is_not_its_flags_whole_value_is_refused(lab):
    lab(("--max_new_tokens 8", "--max_new_tokens {layout.tensor}"))
    with pytest.raises(UsageError, match="is what Megatron's --tensor_model_parallel_size is to be"):
        planning.show_plan("tiny", gpus=8, vram_gib=80)


def test_an_export_is_laid_out_by_its_weights_alone(lab):
    lab(("megatron sft", "megatron export"), ("--micro_batch_size 1 --global_batch_size 16 ", ""))
    step = planning.show_plan("tiny", gpus=2, vram_gib=80).data["steps"][0]
    assert (step["layout"]["tensor"], step["memory_gib"]["optimizer"]) == (1, 0)


def test_a_training_from_preferences_is_estimated_and_what_has_a_teacher_is_not():
    steps = {s["step"]: s for name in ("dpo-kto", "gkd") for s in planning.show_plan(f"megatron/{name}").data["steps"]}
    assert steps["train-dpo"]["memory_gib"]["weights"] == pytest.approx(2 * 0.596 / 2 * 2 * 1e9 / 2**30, abs=0.1)
    assert steps["train"]["memory_gib"] is None


def test_an_engine_of_inference_spreads_as_its_own_flag_says(lab):
    lab(("--max_new_tokens 8", "--infer_backend vllm --vllm_tensor_parallel_size 2"))
    chat = planning.show_plan("tiny", gpus=8, vram_gib=80).data["steps"][1]
    assert chat["memory_gib"]["weights"] == pytest.approx(32.76e9 / 2**30, abs=0.1), "half of two bytes each"
    assert chat["ranks"][0]["devices"] == [0, 1]


def test_only_the_gpus_that_a_step_may_see_are_planned_with(lab):
    lab(("--max_new_tokens 8", "--max_new_tokens 8\n    env: {CUDA_VISIBLE_DEVICES: '2,3'}"))
    chat = planning.show_plan("tiny", gpus=8, vram_gib=80).data["steps"][1]
    assert chat["ranks"][0]["devices"] == [2, 3]
    assert chat["memory_gib"]["weights"] == pytest.approx(32.76e9 / 2**30, abs=0.1), "half of two bytes each"
