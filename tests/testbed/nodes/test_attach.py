"""Runs on two nodes that outlive their inv: followed again, judged afterwards, cancelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.runs import record
from tests.testbed.on_nodes import Nodes, beats, log
from tests.wait import wait_until


def test_a_run_outlives_its_inv_and_is_followed_again_from_its_first_line(nodes: Nodes, tmp_path: Path) -> None:
    process = nodes.start(tmp_path, beats=200)
    wait_until(lambda: record(tmp_path).get("steps") and beats(tmp_path, 1), "both nodes beat", timeout=60)
    nodes.left(process, tmp_path)
    assert nodes.containers()
    before = record(tmp_path)
    following = nodes.inv(tmp_path, "attach", "last")
    wait_until(lambda: record(tmp_path)["state"] == "running" and beats(tmp_path, 1), "it is followed", 60)
    refused = nodes.inv(tmp_path, "attach", "last")
    assert "followed already" in refused.communicate(timeout=300)[0]
    said = following.communicate(timeout=300)[0]
    assert following.returncode == 0, said[-3000:]
    told = record(tmp_path)
    assert (told["state"], told["run"]) == ("done", before["run"])
    assert [s["step"] for s in told["steps"]] == ["pair"]
    assert told["steps"][0]["started"] == before["steps"][0]["started"]
    assert told["steps"][0]["artefacts"][0]["path"] == "met.txt"
    for rank in (0, 1):
        assert beats(tmp_path, rank) == list(range(200)), "no line lost, none twice"
    assert not nodes.containers()


def test_what_ended_while_nobody_followed_is_judged_by_its_exit(nodes: Nodes, tmp_path: Path) -> None:
    process = nodes.start(tmp_path, beats=60)
    wait_until(lambda: beats(tmp_path, 1), "both nodes beat", timeout=60)
    nodes.left(process, tmp_path)
    wait_until(lambda: not nodes.containers("--filter status=running"), "both nodes end by themselves", timeout=60)
    following = nodes.inv(tmp_path, "attach", "last")
    said = following.communicate(timeout=300)[0]
    assert following.returncode == 0, said[-3000:]
    (step,) = record(tmp_path)["steps"]
    assert (step["state"], step["exit"]) == ("done", 0)
    assert 6 <= step["seconds"] < 40, "as long as it ran, not until somebody asked"
    assert beats(tmp_path, 1) == list(range(60))


def test_a_node_killed_while_nobody_followed_is_named_by_who_attaches(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    nodes.left(process, runs)
    nodes.kill("gpu2")
    following = nodes.inv(runs, "attach", "last")
    said = following.communicate(timeout=300)[0]
    assert following.returncode == 1
    assert "node 1 (gpu2) of pair ended with exit 137" in said, said[-2000:]
    assert record(runs)["state"] == "failed"
    assert not nodes.containers()


def test_who_attaches_carries_out_what_is_left_with_the_same_server(nodes: Nodes, tmp_path: Path) -> None:
    process = nodes.start(tmp_path, lab="served")
    wait_until(lambda: "beat" in log(tmp_path, "slow"), "the slow step runs", timeout=90)
    nodes.left(process, tmp_path)
    server = nodes.bed.sh("gpu1", "docker ps -q --filter name=serve")
    following = nodes.inv(tmp_path, "attach", "last")
    wait_until(lambda: any(s["step"] == "slow" for s in record(tmp_path)["steps"]), "it is followed", timeout=60)
    assert nodes.bed.sh("gpu1", "docker ps -q --filter name=serve") == server
    said = following.communicate(timeout=300)[0]
    assert following.returncode == 0, said[-3000:]
    told = record(tmp_path)
    assert [(s["step"], s["state"]) for s in told["steps"]] == [
        (name, "done") for name in ("first", "serve", "slow", "last")
    ]
    assert (tmp_path / told["run"] / "first" / "first.txt").read_text() == "first", "done once"
    assert not nodes.containers()


def test_a_run_that_nobody_follows_is_cancelled_on_every_host(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    nodes.left(process, runs)
    cancelled = nodes.inv(runs, "cancel", "last")
    said = cancelled.communicate(timeout=300)[0]
    assert cancelled.returncode == 0, said
    assert record(runs)["state"] == "interrupted"
    assert not nodes.containers()
    again = nodes.inv(runs, "attach", "last")
    assert "is over: interrupted" in again.communicate(timeout=300)[0]
    assert again.returncode == 2


def test_cancelling_a_run_that_is_followed_ends_it_there(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    cancelled = nodes.inv(runs, "cancel", "last")
    assert cancelled.wait(300) == 0
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert "was removed by someone else (./inv cancel?)" in said, said[-2000:]
    assert not nodes.containers()


def test_a_host_that_cannot_be_asked_is_named_and_the_run_stays_to_be_cancelled(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    nodes.left(process, runs)
    nodes.bed.sh("gpu2", "systemctl stop ssh.socket ssh; pkill -KILL -u lab", check=False)
    try:
        cancelled = nodes.inv(runs, "cancel", "last")
        said = cancelled.communicate(timeout=300)[0]
    finally:
        nodes.bed.sh("gpu2", "systemctl start ssh.socket ssh || systemctl start ssh", check=False)
    assert cancelled.returncode == 1
    assert "gpu2" in said and "may go on there" in said, said
    assert record(runs)["state"] == "detached"
