"""What goes wrong in real runs: each ends in a clear line, the right exit, a readable record, and no process left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import psutil
import pytest

from gpulab.common.errors import UsageError
from gpulab.common.ports import is_free
from gpulab.common.processes import belonging
from gpulab.records.read import read
from gpulab.runs.execute import run_lab
from gpulab.runs.request import LabRequest
from tests.labs.conftest import ROOT

pytestmark = pytest.mark.rehearsal


@pytest.mark.usefixtures("shared")
def test_a_training_that_changes_nothing_fails_on_its_proofs(lab):
    """Exit 0, an adapter saved, and identical to its initial weights: learning rate 0."""
    run = lab("tuners", "--set", "lora.learning_rate=0", "--set", "lora.max_steps=4")
    code, _, err = run.finish()
    assert code == 1
    assert "lora does not prove «adapter moved»: 0 of 14 B matrices differ" in err
    assert (run.record["state"], run.record["steps"][-1]["exit"]) == ("failed", 0)


@pytest.mark.usefixtures("shared")
def test_a_training_without_an_adapter_fails_on_makes(lab):
    run = lab("tuners", "--set", "lora.save_strategy=no", "--set", "lora.max_steps=4")
    code, _, err = run.finish()
    assert code == 1
    assert "lora ended well but made no last-checkpoint/adapter_model.safetensors" in err
    assert run.record["steps"][-1]["exit"] == 0


@pytest.mark.usefixtures("shared")
def test_a_failing_step_shows_its_log_and_the_likely_cause(lab):
    run = lab("tuners", "--set", "lora.dataset=nowhere/nothing.jsonl", "--set", "lora.packing=true")
    code, out, err = run.finish()
    assert code == 1
    assert "lora ended with exit 1, its log: " in err
    assert "likely cause: packing and padding_free need flash attention" in err
    assert "Error" in out, "the end of the log is shown"


def test_ctrl_c_while_training(lab):
    run = lab("tuners", "--set", "lora.num_train_epochs=500")
    run.wait_until(lambda: run.state("lora") and list(run.folder.glob("lora/logging.jsonl")), "lora trains")
    run.process.send_signal(signal.SIGINT)
    code, _, err = run.finish(300)
    assert code == 130, err
    assert (run.record["state"], run.state("lora")) == ("interrupted", "interrupted")
    assert not belonging(run.folder)


@pytest.mark.usefixtures("shared")
def test_ctrl_c_while_serving_on_another_port_because_8000_is_taken(lab):
    with socket.socket() as other:
        if is_free(8000):
            other.bind(("127.0.0.1", 8000))
            other.listen()
        run = lab("quickstart")
        run.wait_until(lambda: run.state("before") == "running", "the server is up and its user runs")
        run.process.send_signal(signal.SIGINT)
        code, out, err = run.finish(300)
    assert code == 130, err
    assert "port 8000 is taken, base will serve on 800" in out
    assert run.record["state"] == "interrupted"
    url = next(s["url"] for s in run.record["steps"] if s["step"] == "base")
    assert url != "http://127.0.0.1:8000/v1"
    assert not belonging(run.folder)


def test_after_kill_9_the_next_inv_reports_and_cleans_up(lab):
    run = lab("tuners", "--set", "lora.num_train_epochs=500")
    run.wait_until(lambda: run.state("lora") and list(run.folder.glob("lora/logging.jsonl")), "lora trains")
    run.process.kill()
    run.finish(300)
    assert belonging(run.folder), "the training outlives its inv"
    assert run.record["state"] == "running", "and the record is readable"
    env = {**os.environ, "GPULAB_RUNS": str(run.runs)}
    after = subprocess.run([ROOT / "inv", "runs"], env=env, capture_output=True, text=True, check=False)
    assert "its inv was killed" in after.stdout
    assert not belonging(run.folder)
    assert run.record["state"] == "killed"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, mounted as the test asks."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)
        return place

    yield mount
    subprocess.run(["umount", "-l", place], check=False)


def test_too_little_disk_is_said_before_anything_starts(lab, small_disk):
    run = lab("tuners", runs=small_disk("size=8m"))
    code, _, err = run.finish()
    assert code == 2
    assert "GiB free, train/tuners needs" in err
    assert "GPULAB_RUNS" in err
    assert run.record == {}


@pytest.mark.usefixtures("shared")
def test_a_disk_that_fills_up_while_it_runs_is_one_clear_failure(lab, small_disk):
    place = small_disk("size=200m")
    run = lab("tuners", runs=place)
    run.wait_until(lambda: run.state("lora") == "running", "lora trains")
    subprocess.run(["dd", "if=/dev/zero", f"of={place}/filler", "bs=1M"], capture_output=True, check=False)
    code, _, err = run.finish()
    assert code == 1
    assert "No space left" in err or "the disk is full" in err
    assert run.record["steps"], "the record is readable as it was last written"


def test_a_read_only_runs_folder_is_one_clear_line(lab, small_disk):
    run = lab("tuners", runs=small_disk("ro,size=200m"))
    code, _, err = run.finish()
    assert code == 2
    assert "cannot write a run into" in err
    assert "Read-only file system" in err
    assert not [p for p in psutil.process_iter() if p.pid == run.process.pid and p.status() != "zombie"]


def test_a_program_that_the_stack_lacks_is_named_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("gpulab.lab.lab.LABS", tmp_path / "labs")
    monkeypatch.setenv("GPULAB_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "labs/start/misspelt"
    folder.mkdir(parents=True)
    (folder / "lab.yaml").write_text(
        "title: t\nupstream: u\ncurriculum: c\nstack: cpu\nneeds: {}\nsteps:\n  go:\n    run: swft sft\nrehearse: {}\n"
    )
    with pytest.raises(UsageError, match=r"lab\.yaml:8: the stack cpu has no program 'swft'"):
        run_lab(LabRequest("misspelt", rehearse=True))
    assert not (tmp_path / "runs").exists()


def test_a_mistake_of_the_labs_own_is_on_record(tmp_path, monkeypatch):
    def broken(*_):
        raise KeyError("MASTER_PORT")

    monkeypatch.setattr("gpulab.engines.session.StepSession.carry_out", broken)
    monkeypatch.setenv("GPULAB_RUNS", str(tmp_path / "runs"))
    with pytest.raises(KeyError):
        run_lab(LabRequest("quickstart", rehearse=True))
    (record,) = (read(f.parent) for f in tmp_path.glob("runs/*/*/run.json"))
    assert (record.state, record.failures) == ("failed", ["inv itself failed: KeyError: 'MASTER_PORT'"])
