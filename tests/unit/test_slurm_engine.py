"""The slurm engine from here: Slurm's and Docker's commands are small scripts that write down how they were called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.console import Console

from gpulab.engines.job_session import JobSession
from gpulab.engines.progress import Watch
from gpulab.engines.slurm import SlurmBackend
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.inventory import Host
from gpulab.lab.lab import load_lab
from gpulab.plan.machine import Machine
from gpulab.plan.make import plan
from gpulab.plan.plan import Plan, PlanSpec
from gpulab.records.read import read, run_name
from gpulab.records.writer import RunFolder, Writer
from gpulab.runs.lab_run import LabRun
from gpulab.runs.spec import RunSpec
from gpulab.stacks.stack import load_stack

COMMANDS = {
    # `docker run ... --entrypoint PROGRAM IMAGE WORDS`, without a container
    "docker": 'while [ "$1" != --entrypoint ]; do shift; done; program=$2; shift 3; exec "$program" "$@"',
    "swift": ":",
    "sbatch": 'echo "sbatch $*" >> "$CALLS"; ${INTERRUPT:+kill -INT "$INTERRUPT"}; echo 7',
    "scancel": 'echo "scancel $*" >> "$CALLS"',
    "scontrol": "echo JobState=RUNNING",
}


class Queue:
    """A Slurm of this test's own, and what it was told."""

    def __init__(self, folder: Path, planned: Plan) -> None:
        here = Host("head", "127.0.0.1", variables={"ansible_connection": "local"})
        machine = Machine("head", "Linux", "a cpu", 1, 1.0, "3")
        shared = folder / "shared"
        node = ComputeNode(here, machine, f"{os.getuid()}:{os.getgid()}", shared, {}, 9, 64, "eth0", "", False, 0)
        self.plan, self.calls, self.node, self.machine = planned, folder / "calls", node, machine
        self.backend = SlurmBackend(load_stack("cpu"), node, here, requeue=False)

    def begin(self) -> JobSession:
        return JobSession(self.backend, self.plan, Watch(Console(quiet=True), list(self.plan.steps)))

    @property
    def told(self) -> list[str]:
        return [line.split()[0] for line in self.calls.read_text().splitlines()] if self.calls.is_file() else []


@pytest.fixture
def queue(tmp_path, write_lab, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in COMMANDS.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    run = tmp_path / "runs" / "start-tiny" / "now"
    (run / "logs").mkdir(parents=True)
    return Queue(tmp_path, plan(PlanSpec(lab=load_lab(write_lab()), profile="cpu", stack=load_stack("cpu")), run))


def test_a_job_gets_the_secrets_that_its_script_names(queue, monkeypatch):
    monkeypatch.setenv("OPENAI_KEY", "sk-the-other")
    spec = PlanSpec(
        lab=queue.plan.lab, profile="gpu", stack=load_stack("cpu"), settings={"chat": {"system": "sk-the-other"}}
    )
    queue.plan = plan(spec, queue.plan.run)
    told = []
    monkeypatch.setattr("gpulab.engines.slurm.ask_login", lambda *_, stdin="", **__: told.append(stdin) or "7")
    session = queue.begin()
    assert told[0] == "OPENAI_KEY=sk-the-other\n"
    script = queue.plan.run / "plan.sh"
    assert "the-other" not in script.read_text() and script.stat().st_mode & 0o077 == 0
    session._end()


def test_a_job_that_rehearses_gets_no_token_of_a_hub(queue, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_the-secret")
    told = []
    monkeypatch.setattr("gpulab.engines.slurm.ask_login", lambda *_, stdin="", **__: told.append(stdin) or "7")
    session = queue.begin()
    assert told[0] == ""
    script = (queue.plan.run / "plan.sh").read_text()
    assert "--env HF_TOKEN " not in script and "--env HF_TOKEN= " in script
    session._end()


def test_an_interrupt_before_the_job_is_followed_cancels_it(queue, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gpulab.engines.slurm.Follower", interrupted)
    with pytest.raises(KeyboardInterrupt):
        queue.begin()
    assert queue.told == ["sbatch", "scancel"]


def test_an_interrupt_while_the_job_is_submitted_cancels_it(queue, monkeypatch):
    monkeypatch.setenv("INTERRUPT", str(os.getpid()))
    with pytest.raises(KeyboardInterrupt):
        queue.begin()
    assert queue.told == ["sbatch", "scancel"]


def test_an_interrupt_while_it_is_noted_what_a_resumed_run_took_cancels_the_job(queue, runs, monkeypatch):
    spec = RunSpec(
        lab=queue.plan.lab, profile="cpu", stack=queue.plan.stack, why="", engine=queue.backend,
        compute_nodes=[queue.node], machines=[queue.machine], inventory="", nodes=1,
    )  # fmt: skip
    monkeypatch.setattr(SlurmBackend, "described", lambda _: {})
    folder = RunFolder.make("start-tiny")
    running = LabRun(Writer(folder, spec.record(run_name(folder.path))), spec, spec.plan(folder.path))

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert running.carry_out(interrupted).code == 130
    assert queue.told == ["sbatch", "scancel"]
    assert read(folder.path).state == "interrupted"
