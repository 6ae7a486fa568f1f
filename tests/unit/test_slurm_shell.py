"""The job's script, carried out by a real bash; docker, scontrol and srun only write down how they were called."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from gpulab.engines.slurm_shell import PORT, SlurmShell, nodes_of_a_job
from gpulab.lab.lab import load_lab
from gpulab.plan.container import Place
from gpulab.plan.layout.step import Devices
from gpulab.plan.make import plan
from gpulab.plan.plan import TOOLS, PlanSpec, Site
from gpulab.plan.script import as_script
from gpulab.stacks.stack import load_stack
from tests.unit.test_checkpoints import trainer

LAB = """\
title: A lab of the tests
upstream: examples/none
curriculum: none
stack: cpu
model: Org/Tiny-1B
needs: {gpus: 2, vram_gib: 8}
steps:
  train:
    run: swift sft train.yaml --model {model}
    makes: [logging.jsonl]
  chat:
    run: swift infer --adapters {train}/last-checkpoint --temperature 0
rehearse: {impossible: it is only written}
"""
DOCKER = """\
#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
case "$*" in run*"swift sft"*) exit "${TRAIN:-0}" ;; esac
case "$*" in *checkpoints.py*) exec python3 $(printf '%s\n' "$@" | tail -n 3) ;; esac
"""
SRUN = '#!/bin/bash\nwhile [ "$1" != bash ]; do shift; done\nSLURM_NODEID=1 exec "$@"\n'
SCONTROL = """\
#!/bin/sh
case "$*" in *hostnames*) echo node1; echo node2;; *) echo "NodeName=node1 NodeAddr=10.0.0.7 Port=6818";; esac
"""


class Job:
    """A script in a folder of its own, and a run of it."""

    def __init__(self, folder: Path, write_lab, *, text: str = LAB, nodes: int = 1, requeue: bool = False) -> None:  # type: ignore[no-untyped-def]
        self.folder, self.results, self.calls = folder, folder / "results", folder / "calls"
        lab = load_lab(write_lab(text=text))
        shared = folder / "shared"
        (shared / "runs").mkdir(parents=True)
        run = folder / "here"
        place = Place(
            "gpulab/cpu:1", "7:7", {lab.folder: run / ".lab", TOOLS: run / ".gpulab"}, {run: run}, {}, ["--gpus", "all"]
        )
        site = Site(nodes=nodes_of_a_job(nodes), rendezvous=PORT, devices=Devices(2, 8))
        planned = plan(PlanSpec(lab=lab, profile="gpu", stack=load_stack("cpu")), run, site)
        shell = SlurmShell(planned, "gpulab/cpu:1", lambda *_: place, shared, cdi=True, requeue=requeue)
        self.script = folder / "plan.sh"
        self.script.write_text(as_script(shell))
        for name, body in {"docker": DOCKER, "srun": SRUN, "scontrol": SCONTROL}.items():
            (folder / "bin").mkdir(exist_ok=True)
            (folder / "bin" / name).write_text(body)
            (folder / "bin" / name).chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        env = {"PATH": path, "SLURMD_NODENAME": "node1", "CALLS": str(self.calls), "SLURM_JOB_ID": "42",
               "SLURM_JOB_NODELIST": "node[1-2]",
               "SLURM_JOB_GPUS": "2,5", **environment}  # fmt: skip
        return subprocess.run(["bash", self.script, self.results], env=env, capture_output=True, text=True, check=False)

    @property
    def trained(self) -> str:
        return next(line for line in self.calls.read_text().splitlines() if "swift sft" in line)

    @property
    def journal(self) -> list[tuple[str, str]]:
        lines = [json.loads(line) for line in (self.results / "journal").read_text().splitlines()]
        return [(line["step"], line["what"]) for line in lines]


def gpu_information(folder: Path, minor_of: dict[str, int]) -> str:
    """What the driver says of each GPU below /proc, in the order of their places on the bus."""
    for place, (uuid, minor) in enumerate(minor_of.items()):
        (folder / f"0000:{place:02x}:00.0").mkdir(parents=True)
        text = f"Model: \t\t NVIDIA H100\nGPU UUID: \t {uuid}\nBus Type: \t PCIe\nDevice Minor: \t {minor}\n"
        (folder / f"0000:{place:02x}:00.0" / "information").write_text(text)
    return str(folder)


def test_it_asks_for_what_the_lab_needs(tmp_path, write_lab):
    options = Job(tmp_path, write_lab).script.read_text().split("set -euo")[0]
    assert "#SBATCH --gpus-per-node=2\n" in options and "#SBATCH --nodes=1\n" in options
    assert "#SBATCH --no-requeue\n" in options


@pytest.mark.parametrize("folder", ["plain", "空 格's $(touch seen)"])
def test_its_steps_run_in_order_with_the_jobs_own_gpus_and_label(tmp_path, write_lab, folder):
    job = Job(tmp_path / folder, write_lab)
    done = job.run()
    assert not list(tmp_path.rglob("seen"))
    assert done.returncode == 0, done.stderr
    assert job.journal == [("train", "begins"), ("train", "done"), ("chat", "begins"), ("chat", "done")]
    assert "--device nvidia.com/gpu=2 --device nvidia.com/gpu=5" in job.trained and "gpu=all" not in job.trained
    assert "--label gpulab.job=42" in job.trained and "resume_from" not in job.trained
    assert (job.results / ".lab" / "lab.yaml").is_file() and (job.results / ".gpulab/inside/ready.py").is_file()


def test_its_gpus_are_named_so_that_slurm_and_a_container_mean_the_same(tmp_path, write_lab):
    """Slurm's numbers are those of the device files, which need not follow the bus as the driver's order does."""
    job = Job(tmp_path, write_lab)
    uuids = gpu_information(tmp_path / "proc", {"GPU-a": 5, "GPU-b": 25, "GPU-c": 2})
    assert job.run(NVIDIA_GPUS=uuids).returncode == 0
    assert "--device nvidia.com/gpu=GPU-c --device nvidia.com/gpu=GPU-a " in job.trained


def test_its_script_carries_what_the_labs_share(tmp_path, write_lab):
    (write_lab().parents[1] / "common/data").mkdir(parents=True)
    (write_lab().parents[1] / "common/data/facts.jsonl").write_text("{}\n")
    job = Job(tmp_path, write_lab)
    assert job.run().returncode == 0
    assert (job.results / ".common/data/facts.jsonl").read_text() == "{}\n"


def test_it_stops_at_the_first_step_that_fails(tmp_path, write_lab):
    job = Job(tmp_path, write_lab)
    assert job.run(TRAIN="7").returncode == 7
    assert job.journal == [("train", "begins"), ("train", "failed")]


@pytest.mark.parametrize(("whole", "resumed"), [([2, 10], 10), ([2], 2), ([], None)])
def test_begun_anew_it_goes_on_from_the_last_whole_checkpoint(tmp_path, write_lab, whole, resumed):
    job = Job(tmp_path, write_lab, requeue=True)
    job.run(TRAIN="9")
    for number in (2, 10, 12):
        checkpoint = trainer(job.results / "train", number)
        if number not in whole:
            (checkpoint / "optimizer.pt").write_bytes(b"PK")
    job.calls.unlink()
    assert job.run(SLURM_RESTART_COUNT="1").returncode == 0
    wanted = f"--resume_from_checkpoint {job.results}/train/checkpoint-{resumed}"
    assert job.trained.endswith(wanted) if resumed else "resume_from" not in job.trained
    assert "checkpoint-12 is passed over: optimizer.pt is torn" in (job.results / "logs" / "train.log").read_text()


def test_begun_anew_it_does_not_do_again_what_is_done(tmp_path, write_lab):
    job = Job(tmp_path, write_lab, requeue=True)
    job.run()
    job.calls.unlink()
    assert job.run(SLURM_RESTART_COUNT="1").returncode == 0
    assert "swift" not in job.calls.read_text()


def test_nodes_that_work_together_know_their_rank_and_the_first(tmp_path, write_lab):
    spread = LAB.replace("    makes: [logging.jsonl]\n", "    spread: true\n    makes: [logging.jsonl]\n")
    job = Job(tmp_path, write_lab, text=spread, nodes=2)
    assert "#SBATCH --nodes=2\n" in job.script.read_text()
    done = job.run(SLURM_STEP_GPUS="1")
    assert done.returncode == 0, done.stderr + (job.results / "logs" / "train.log").read_text()
    for word in ("NNODES=2", "NODE_RANK=1", "MASTER_ADDR=10.0.0.7", "MASTER_PORT=29442"):
        assert word in job.trained
    assert "--device nvidia.com/gpu=1 " in job.trained


def test_nodes_that_work_together_get_what_the_hosts_nccl_conf_sets(tmp_path, write_lab):
    conf = tmp_path / "nccl.conf"
    conf.write_text("# rails\nNCCL_SOCKET_IFNAME=ib0\nNCCL_IB_HCA=mlx5_0,mlx5_3\nNCCL_DEBUG=WARN\n")
    own = "    spread: true\n    env: {NCCL_DEBUG: INFO}\n    makes: [logging.jsonl]\n"
    spread = LAB.replace("    makes: [logging.jsonl]\n", own)
    job = Job(tmp_path, write_lab, text=spread, nodes=2)
    assert job.run(NCCL_CONF_FILE=str(conf)).returncode == 0
    assert "--env=NCCL_IB_HCA=mlx5_0,mlx5_3 " in job.trained
    assert job.trained.count("NCCL_SOCKET_IFNAME=ib0") == 1
    assert job.trained.index("NCCL_DEBUG=WARN") < job.trained.index("NCCL_DEBUG=INFO"), "the lab's own word is the last"
    chat = next(line for line in job.calls.read_text().splitlines() if "swift infer" in line)
    assert "NCCL_IB_HCA" not in chat, "a container alone is in a network of its own"


def test_a_launcher_is_told_on_its_line_what_only_the_job_knows(tmp_path, write_lab):
    launched = LAB.replace(
        "    run: swift sft train.yaml --model {model}\n",
        "    run: torchrun --nnodes {nnodes} --node_rank {node_rank} --master_addr {master_addr} --master_port"
        " {master_port} --no_python swift sft train.yaml --model {model}\n    spread: true\n",
    )
    job = Job(tmp_path, write_lab, text=launched, nodes=2)
    done = job.run(SLURM_STEP_GPUS="1")
    assert done.returncode == 0, done.stderr + (job.results / "logs" / "train.log").read_text()
    told = "torchrun --nnodes 2 --node_rank 1 --master_addr 10.0.0.7 --master_port 29442 --no_python swift sft"
    assert told in job.trained
    assert "NNODES" not in job.trained and "NODE_RANK" not in job.trained
