"""The record: whole at any moment, found again by name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from gpulab.common.errors import UsageError
from gpulab.common.processes import MARK
from gpulab.records.read import find_run, read
from gpulab.records.writer import RunFolder, Writer
from gpulab.runs.recover import sweep
from gpulab.runs.remote_runs import refuse_lost
from tests.records import killed, open_run
from tests.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


def test_two_runs_in_one_second_get_two_folders(runs):
    first, second = open_run("a-b"), open_run("a-b")
    assert first.folder != second.folder
    first.close("done")
    second.close("done")
    assert find_run("last") == find_run("b") == find_run("a/b") == second.folder


def test_an_unknown_run_gets_the_nearest(runs):
    open_run("start-quickstart").close("done")
    with pytest.raises(UsageError, match="no run 'quikstart'") as caught:
        find_run("quikstart")
    assert caught.value.cure == "did you mean quickstart?", "a lab's name is its last run"


def test_a_runs_folder_that_is_a_file_is_one_clear_line(runs):
    runs.write_text("")
    with pytest.raises(UsageError, match="cannot write a run into") as caught:
        RunFolder.make("a-b")
    assert "GPULAB_RUNS" in caught.value.cure


def test_a_killed_inv_leaves_a_readable_record_and_the_next_cleans_up(runs):
    """kill -9 in the middle of rewriting the record all the time, with a child that outlives it."""
    script = f"""
import os, subprocess, sys
sys.path.insert(0, {str(ROOT)!r})
from gpulab.records.record import StepRecord
from tests.records import open_run
w = open_run("a-b", stack={{"name": "cpu", "filler": "x" * 200000}})
child = subprocess.Popen(["sleep", "600"], env={{**os.environ, {MARK!r}: str(w.folder)}}, start_new_session=True)
print(child.pid, w.folder, flush=True)
while True:
    w.record.steps.append(StepRecord(step="train"))
    w.save()
"""
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child, folder = owner.stdout.readline().split()
    wait_until(lambda: len(read(Path(folder)).steps) > 20, "the record is being rewritten", 30)
    assert sweep() == [], "a run whose inv is alive is left alone"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert read(Path(folder)).state == "running"
    lines = sweep()
    assert len(lines) == 1
    assert "1 processes of it stopped" in lines[0]
    assert not psutil.pid_exists(int(child))
    assert read(Path(folder)).state == "killed"
    assert sweep() == []


def test_a_full_disk_keeps_the_old_record(runs, tmp_path, monkeypatch):
    writer = open_run("a-b", why="old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    writer.record.why = "new"
    with pytest.raises(OSError, match="No space left"):
        writer.save()
    assert read(writer.folder).why == "old"
    assert [f.name for f in writer.folder.iterdir() if f.name.startswith(".")] == []


@pytest.mark.parametrize("where", [{"job": "7", "hosts": ["n"]}, {"hosts": ["n1", "n2"], "steps": [{"step": "a"}]}])
def test_a_run_on_hosts_goes_on_when_its_inv_is_gone(runs, where):
    folder = killed(open_run("a-b", engine="docker", **where))
    (line,) = sweep()
    assert f"./inv attach a-b/{folder.name}" in line
    assert read(folder).state == "detached"
    held = RunFolder(folder)
    held.take()
    with pytest.raises(UsageError, match="followed already"):
        RunFolder(folder).take()
    Writer(held, read(folder)).close("done")
    assert sweep() == []


def lost(folder: Path, *, there: bool) -> None:
    """Ask as `attach` does, where the step's containers are there, or gone."""
    planned = SimpleNamespace(steps=["train", "infer"], ranks=lambda _: ["node 0", "node 1"])
    refuse_lost(folder, read(folder), planned, lambda *_: there)


@pytest.mark.parametrize(
    ("step", "failures", "state", "why"),
    [
        ("running", [], "interrupted", "nothing of train is left on n1, n2"),
        ("failed", ["train ended with exit 1"], "failed", "train ended with exit 1"),
    ],
)
def test_a_run_whose_containers_are_gone_is_closed_and_not_carried_out_again(runs, step, failures, state, why):
    """Its inv was ended after it had removed them, also after the step's verdict, and before it could say so."""
    steps = [{"step": "train", "state": step}]
    folder = killed(open_run("a-b", engine="docker", hosts=["n1", "n2"], steps=steps, failures=failures))
    sweep()
    lost(folder, there=True)
    assert read(folder).state == "detached", "its containers go on"
    with pytest.raises(UsageError, match="nothing of train is left on n1, n2") as caught:
        lost(folder, there=False)
    assert "./inv resume a-b/" in caught.value.cure
    assert (read(folder).state, read(folder).failures) == (state, [why])
    assert sweep() == []


def test_between_two_steps_there_is_nothing_to_miss(runs):
    folder = killed(open_run("a-b", engine="docker", hosts=["n1"], steps=[{"step": "train", "state": "done"}]))
    sweep()
    lost(folder, there=False)
    assert read(folder).state == "detached"
