"""`inv top`: which program is on which GPU, whose it is, and who has claimed the host."""

from __future__ import annotations

import getpass
import io
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gpulab.hosts import top as module
from gpulab.hosts.top import top, view
from gpulab.inside import gpu_use

GPUS = "0, GPU-a, NVIDIA H100 80GB HBM3, 97, 40960, 81559\n1, GPU-b, NVIDIA H100 80GB HBM3, [N/A], [N/A], 81559"
CLAIMED = '{"gpulab.run": "/home/alice/lab/runs/train-sft/20261127T101112Z", "gpulab.by": "alice@laptop"}'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """programs(smi=..., docker=...) puts scripts of these names on PATH, in the place of the machine's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(**scripts: str) -> None:
        for name, script in scripts.items():
            path = tmp_path / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)

    return put


def smi(jobs: str) -> str:
    """An nvidia-smi with two GPUs and these programs on them."""
    return f"case $1 in --query-gpu=*) cat <<'E'\n{GPUS}\nE\n;; *) cat <<'E'\n{jobs}\nE\n;; esac"


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    """This machine, and one that is off."""
    (tmp_path / "gpus.ini").write_text("[gpu]\nhere ansible_connection=local\noff ansible_host=198.18.0.1\n")
    return str(tmp_path / "gpus.ini")


def shown(found: list[dict[str, Any]]) -> str:
    """The table as a wide terminal has it."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(view(found))
    return captured.get()


def test_a_program_is_shown_beside_its_gpu_and_the_claim_beside_all(programs, inventory):
    since = (datetime.now(timezone.utc) - timedelta(hours=2, minutes=5)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    programs(
        nvidia_smi=smi(f"GPU-a, {os.getpid()}, /opt/stack/bin/python, 40448"),
        docker=f"case $1 in inspect) echo '{CLAIMED} {since}' ;; esac",
    )
    (found,) = top(inventory, "here", once=True).data["hosts"]
    first, second = [line for line in shown([found]).splitlines() if line.startswith("here")]
    assert "H100 80GB HBM3" in first and "97 %" in first and "40.0 of 80 GiB" in first
    assert f"{getpass.getuser()}: python ({os.getpid()}) 39.5 GiB" in first
    assert "python" not in second and "? of 80 GiB" in second
    for line in (first, second):
        assert "alice@laptop: train-sft/20261127T101112Z, 2 h 05 min" in line


def test_a_service_is_named_as_a_service(programs, inventory):
    labels = json.dumps({"gpulab.run": "/home/alice/lab/runs/.services/mine", "gpulab.by": "alice@laptop"})
    claimed = f"case $1 in inspect) echo '{labels} 2026-11-27T10:11:12.123456789Z' ;; esac"
    programs(nvidia_smi=smi("GPU-a, 4711, python, 100"), docker=claimed)
    (found,) = top(inventory, "here", once=True).data["hosts"]
    found["programs"] = [{**found["programs"][0], "run": "/home/alice/lab/runs/.services/mine"}]
    said = shown([found])
    assert "alice@laptop: service mine, " in said and "of service mine" in said
    assert ".services" not in said


def test_a_program_in_a_container_is_its_runs(tmp_path, programs):
    identity = "f" * 64
    (tmp_path / "4711").mkdir()
    (tmp_path / "4711" / "cgroup").write_text(f"0::/system.slice/docker-{identity}.scope\n")
    programs(
        nvidia_smi=smi("GPU-a, 4711, python, 100\nGPU-b, 4712, [N/A], [N/A]"),
        docker=f"echo {identity} /runs/train-sft/1",
    )
    first, second = gpu_use.programs(tmp_path)
    assert (first["run"], first["mib"]) == ("/runs/train-sft/1", 100)
    assert (second["run"], second["user"], second["mib"]) == ("", "", None), "it ended meanwhile"


def test_a_host_that_does_not_answer_is_a_row_that_says_so_and_a_failure(programs, inventory, monkeypatch):
    programs(
        nvidia_smi=smi(""), docker="exit 1", ssh="echo 'connect to host 198.18.0.1: Connection refused' >&2; exit 255"
    )
    outcome = top(inventory, "", once=True)
    (failure,) = outcome.failures
    assert failure.where == "off" and failure.cure
    rows = shown(outcome.data["hosts"]).splitlines()
    assert sum(row.startswith("here") for row in rows) == 2
    assert any(row.startswith("off ") and failure.message in row for row in rows)


def test_a_driver_that_fails_is_no_host_without_gpus(programs, inventory):
    programs(nvidia_smi="echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", docker="exit 1")
    outcome = top(inventory, "here", once=True)
    assert "Driver/library version mismatch" in str(outcome.failures[0])
    assert "no GPU" not in shown(outcome.data["hosts"])


def test_in_a_terminal_it_looks_again_until_ctrl_c(programs, inventory, monkeypatch):
    programs(nvidia_smi=smi(""), docker="exit 1")
    looks = []
    monkeypatch.setattr(module, "console", Console(force_terminal=True, file=io.StringIO()))
    monkeypatch.setattr(module, "look", lambda hosts, _: looks.append(len(hosts)) or [])

    def interrupted_the_third_time(_: float) -> None:
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupted_the_third_time)
    assert top(inventory, "here", once=False).code is None
    assert looks == [1, 1, 1]
