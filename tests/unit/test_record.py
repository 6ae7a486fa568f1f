"""The record: whole at any moment, found again by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gpulab.common.errors import UsageError
from gpulab.common.processes import MARK
from gpulab.records.record import Record, find_run, read
from gpulab.runs.recover import sweep
from tests.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


def test_two_runs_in_one_second_get_two_folders(runs):
    first, second = Record.open("a-b", {}), Record.open("a-b", {})
    assert first.folder != second.folder
    first.close("done")
    second.close("done")
    assert find_run("last") == find_run("b") == find_run("a/b") == second.folder


def test_an_unknown_run_gets_the_nearest(runs):
    Record.open("start-quickstart", {}).close("done")
    with pytest.raises(UsageError, match="no run 'quikstart'") as caught:
        find_run("quikstart")
    assert "start-quickstart/" in caught.value.cure


def test_a_runs_folder_that_is_a_file_is_one_clear_line(runs):
    runs.write_text("")
    with pytest.raises(UsageError, match="cannot write a run into") as caught:
        Record.open("a-b", {})
    assert "GPULAB_RUNS" in caught.value.cure


def test_a_killed_inv_leaves_a_readable_record_and_the_next_cleans_up(runs):
    """kill -9 in the middle of rewriting the record all the time, with a child that outlives it."""
    script = f"""
import os, subprocess, sys
sys.path.insert(0, {str(ROOT)!r})
from gpulab.records.record import Record
r = Record.open("a-b", {{"steps": [], "failures": [], "filler": "x" * 200000}})
child = subprocess.Popen(["sleep", "600"], env={{**os.environ, {MARK!r}: str(r.folder)}}, start_new_session=True)
print(child.pid, r.folder, flush=True)
while True:
    r.data["steps"].append(len(r.data["steps"]))
    r.save()
"""
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child, folder = owner.stdout.readline().split()
    wait_until(lambda: len(read(Path(folder))["steps"]) > 20, "the record is being rewritten", 30)
    assert sweep() == [], "a run whose inv is alive is left alone"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert read(Path(folder))["state"] == "running"
    lines = sweep()
    assert len(lines) == 1
    assert "1 processes of it stopped" in lines[0]
    assert not psutil.pid_exists(int(child))
    assert read(Path(folder))["state"] == "killed"
    assert sweep() == []


def test_a_full_disk_keeps_the_old_record(runs, tmp_path, monkeypatch):
    record = Record.open("a-b", {"note": "old"})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    record.data["note"] = "new"
    with pytest.raises(OSError, match="No space left"):
        record.save()
    assert json.loads((record.folder / "run.json").read_text())["note"] == "old"
    assert [f.name for f in record.folder.iterdir() if f.name.startswith(".")] == []


@pytest.mark.parametrize(
    "where", [{"job": "7", "hosts": ["n"], "steps": []}, {"hosts": ["n1", "n2"], "steps": [{"step": "a"}]}]
)
def test_a_run_on_hosts_goes_on_when_its_inv_is_gone(runs, where):
    record = Record.open("a-b", {"failures": [], "engine": "docker", **where})
    record._lock.release(force=True)
    (line,) = sweep()
    assert f"./inv attach a-b/{record.folder.name}" in line
    assert read(record.folder)["state"] == "detached"
    again = Record.reopen(record.folder, read(record.folder))
    with pytest.raises(UsageError, match="followed already"):
        Record.reopen(record.folder, read(record.folder))
    again.close("done")
    assert sweep() == []
