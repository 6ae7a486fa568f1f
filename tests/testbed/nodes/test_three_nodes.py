"""Three hosts that work as one: not two, which would hide whoever counts on a single other."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.runs import record
from tests.testbed.on_nodes import Nodes, beats
from tests.testbed.paths import REPO
from tests.wait import wait_until


def test_three_hosts_meet(three: Nodes, tmp_path: Path) -> None:
    code, said = three.run(tmp_path, "--nodes", "3")
    assert code == 0, said
    told = record(tmp_path)
    assert told["hosts"] == list(three.hosts)
    folder = tmp_path / told["run"]
    assert (folder / "pair" / "met.txt").read_text() == "together"
    for rank in range(3):
        assert beats(tmp_path, rank)[-1] == 19
        assert "beat 19" in (folder / "logs" / f"pair-{rank}.log").read_text()
    assert not three.containers()


def test_a_killed_third_is_named_and_the_others_are_stopped(three: Nodes, tmp_path: Path) -> None:
    process = three.start(tmp_path, "--nodes", "3", beats=2000)
    wait_until(lambda: beats(tmp_path, 2), "all beat", timeout=60)
    three.kill("gpu3")
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert "node 2 (gpu3) of pair ended with exit 137" in " ".join(record(tmp_path)["failures"]), said[-2000:]
    assert not three.containers()


@pytest.mark.rehearsal
def test_three_hosts_train_as_one(three: Nodes, tmp_path: Path) -> None:
    """The lab train/multi-node with the real ms-swift: proven there, recorded here. Four samples on each node, so the
    one process that they are compared with takes three times four at a step."""
    done = subprocess.run(
        [REPO / "inv", "lab", "multi-node", "--only", "swift,deepspeed", "--hosts", three.inventory, "--nodes", "3",
         "--set", "single.gradient_accumulation_steps=3", "--json"],
        env={**os.environ, "GPULAB_RUNS": str(tmp_path)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    told = record(tmp_path)
    assert told["hosts"] == list(three.hosts)
    assert told["stack"]["image"]["id"].startswith("sha256:")
    steps = {s["step"]: {p["proof"]: p["evidence"] for p in s.get("proofs", [])} for s in told["steps"]}
    states = steps["deepspeed"]["each rank holds at most 55% of the optimizer states"]
    assert re.fullmatch(r"each of 3 ranks has at most 3[345]% of the optimizer states", states), (
        "ZeRO-2, over the network"
    )
    assert steps["swift"]["every rank took part"] == "3 ranks on 3 nodes over gloo"
    assert "the same weights on 3 ranks" in steps["swift"]["ranks hold the same weights"]
    folder = tmp_path / told["run"]
    ranks = {f.name: json.loads(f.read_text())["host"] for f in (folder / "swift" / "ranks").iterdir()}
    assert (set(ranks), set(ranks.values())) == ({"0.json", "1.json", "2.json"}, set(three.hosts))
    assert "[0] " in (folder / "logs" / "swift.log").read_text()
    assert not three.containers()


@pytest.mark.rehearsal
def test_new_hosts_are_measured_together(three: Nodes, tmp_path: Path) -> None:
    done = subprocess.run(
        [REPO / "inv", "accept", "--hosts", three.inventory, "--json"],
        env={**os.environ, "GPULAB_RUNS": str(tmp_path)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert {row["host"]: row["passed"] for row in told["hosts"]} == dict.fromkeys(three.hosts, True)
    report = json.loads((Path(told["folder"]) / "acceptance.json").read_text())
    assert all(rank["figures"]["all_all_reduce_gbs"] > 0 for rank in report["ranks"])
    assert {step["step"]: step["state"] for step in record(tmp_path)["steps"]}["train"] == "done"
    assert not three.containers()
