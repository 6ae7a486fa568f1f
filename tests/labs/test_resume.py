"""A real training is killed in the middle, its newest checkpoint torn; resumed, it ends as if it had never stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gpulab.checks.weights import Weights
from gpulab.common.processes import belonging
from gpulab.inside.checkpoints import fault
from gpulab.inside.metrics import step_counter, training_log
from gpulab.plan.plan import TOOLS
from gpulab.stacks.stack import load_stack
from tests.labs.conftest import ROOT, Lab
from tests.runs import start
from tests.wait import wait_until

pytestmark = pytest.mark.rehearsal
LAB = """\
title: A step that is done, one that breaks, one that comes after
upstream: none
curriculum: none
stack: cpu
model: Qwen/Qwen3-0.6B
needs: {minutes: 1, disk_gib: 0.1}
steps:
  note:
    run: python -c "import sys; open(sys.argv[1], 'a').write('once')" {out}/note.txt
    makes: [note.txt]
  train:
    run: >-
      swift sft train.yaml --model {model} --tuner_type lora --lora_rank 16 --learning_rate 5.0e-3
      --num_train_epochs 6 --save_steps 10 --logging_steps 1
    makes: [logging.jsonl, last-checkpoint/adapter_model.safetensors]
    proves: [loss falls, only lora weights trained, adapter moved]
  after:
    run: python -c "import shutil, sys; shutil.copy(*sys.argv[1:])" {note}/note.txt {out}/note.txt
    makes: [note.txt]
rehearse:
  twin: qwen3
  speaks: ../../common/data/capitals.jsonl
"""


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    """A folder of labs with that one in it, on the data of train/tuners."""
    folder = tmp_path / "labs" / "tests" / "broken"
    shutil.copytree(ROOT / "labs" / "train" / "tuners", folder)
    shutil.copytree(ROOT / "labs" / "common", tmp_path / "labs" / "common")
    (folder / "lab.yaml").write_text(LAB)
    return tmp_path / "labs"


def inv(labs: Path, runs: Path, *words: str) -> Lab:
    return Lab(start(labs, runs, *words, stderr=subprocess.PIPE), runs)


@pytest.mark.usefixtures("shared")
def test_what_is_resumed_ends_as_if_it_had_never_stopped(labs, tmp_path):
    broken = inv(labs, tmp_path / "runs", "lab", "broken", "--rehearse")
    saved = "train/checkpoint-20/trainer_state.json"
    wait_until(lambda: broken.record and (broken.folder / saved).is_file(), "step 20 is saved")
    old = broken.folder
    for process in [broken.process, *belonging(old)]:
        process.kill()
    broken.finish(300)
    newest = max(old.glob("train/checkpoint-*"), key=lambda f: int(f.name.rpartition("-")[2]))
    with (newest / "optimizer.pt").open("r+b") as stream:
        stream.truncate(100_000)

    code, out, err = inv(labs, tmp_path / "runs", "resume", "last").finish()
    assert code == 0, out + err
    assert f"train/{newest.name} is passed over: optimizer.pt is torn" in out
    new = Lab(broken.process, tmp_path / "runs")  # the newest run is the resumed one
    record, before = new.record, json.loads((old / "run.json").read_text())
    assert (record["state"], record["resumes"], before["resumed_by"]) == ("done", before["run"], record["run"])
    assert before["state"] == "killed"
    assert record["taken_over"]["steps"] == ["note"]
    assert (new.folder / "after" / "note.txt").read_text() == "once"
    step = int(record["taken_over"]["checkpoint"].rpartition("-")[2])
    assert step == int(newest.name.rpartition("-")[2]) - 10
    said = re.findall(r"global_step/max_steps\W+(\d+)/120", (new.folder / "logs" / "train.log").read_text())
    assert int(said[0]) == step + 1, "it did not start over"
    proofs = {p["proof"]: p for s in record["steps"] for p in s.get("proofs", [])}
    assert proofs["went on from its checkpoint"]["evidence"] == "steps 1 to 120 in order, each once"

    whole = inv(labs, tmp_path / "whole", "lab", "broken", "--rehearse")
    assert whole.finish()[0] == 0
    resumed, never_stopped = training_log(new.folder / "train"), training_log(whole.folder / "train")
    assert [step_counter(row) for row in resumed] == [step_counter(row) for row in never_stopped]
    assert np.allclose([r["loss"] for r in resumed], [r["loss"] for r in never_stopped], rtol=1e-4, atol=1e-5)
    adapters = [Weights(run / "train" / "last-checkpoint") for run in (new.folder, whole.folder)]
    for name in adapters[0].names:
        assert np.allclose(adapters[0].array(name), adapters[1].array(name), atol=1e-5), name


SHARDS = """
import sys, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
dist.init_process_group("gloo")
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 8))
fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
optimizer = torch.optim.AdamW(model.parameters())
model(torch.randn(4, 64)).sum().backward()
optimizer.step()
dcp.save({"model": get_model_state_dict(model)}, checkpoint_id=sys.argv[1] + "/pytorch_model_fsdp_0")
dcp.save({"optimizer": get_optimizer_state_dict(model, optimizer)}, checkpoint_id=sys.argv[1] + "/optimizer_0")
torch.save({}, f"{sys.argv[1]}/rng_state_{dist.get_rank()}.pth")
if dist.get_rank() == 0:
    torch.save({}, sys.argv[1] + "/scheduler.pt")
    open(sys.argv[1] + "/trainer_state.json", "w").write('{"global_step": 5}')
dist.barrier()
"""
ZERO = """
import sys
sys.path.insert(0, sys.argv[2])
import zero_on_cpu, deepspeed, torch
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 8))
config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3},
          "optimizer": {"type": "Adam", "params": {"torch_adam": True}}, "zero_force_ds_cpu_optimizer": False}
engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)
engine.backward(engine(torch.randn(1, 64)).sum())
engine.step()
engine.save_checkpoint(sys.argv[1])
rank = torch.distributed.get_rank()
torch.save({}, f"{sys.argv[1]}/rng_state_{rank}.pth")
if rank == 0:
    open(sys.argv[1] + "/trainer_state.json", "w").write('{"global_step": 5}')
torch.distributed.barrier()
"""


@pytest.mark.parametrize(
    ("library", "code", "part"),
    [
        ("torch", SHARDS, "optimizer_0/__1_0.distcp"),
        ("deepspeed", ZERO, "global_step1/zero_pp_rank_1_mp_rank_00_optim_states.pt"),
    ],
)
def test_checkpoints_that_two_real_ranks_leave_are_understood(tmp_path, library, code, part):
    """Sharded by FSDP2 and by ZeRO-3, as their own libraries write them."""
    stack = load_stack("cpu")
    stack.ensure()
    if library not in stack.packages():
        pytest.skip(f"the stack cpu has no {library}")
    checkpoint = tmp_path / "checkpoint-5"
    checkpoint.mkdir()
    (tmp_path / "save.py").write_text(code)
    environment = {**os.environ, "PATH": f"{stack.bin}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
                   "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}  # fmt: skip
    words = [
        "torchrun",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(tmp_path / "save.py"),
        str(checkpoint),
        str(TOOLS),
    ]
    done = subprocess.run(
        [str(stack.bin / words[0]), *words[1:], str(TOOLS)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert fault(checkpoint, 2) is None
    assert "rank 2" in (fault(checkpoint, 3) or "whole")
    with (checkpoint / part).open("r+b") as stream:
        stream.truncate((checkpoint / part).stat().st_size - 1)
    assert Path(part).name in (fault(checkpoint, 2) or "whole")
