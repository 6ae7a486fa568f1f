"""Labs on real hosts: containers over ssh, two nodes that train as one, and what goes wrong while they do."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpulab.engines.node_group import QUIET
from tests.runs import record
from tests.testbed import engine
from tests.testbed.bastion import bastion
from tests.testbed.bed import ensure_network, free_subnet
from tests.testbed.on_nodes import LABEL, Nodes, beats, log
from tests.testbed.paths import REPO
from tests.wait import wait_until


def test_nodes_meet_and_their_files_come_back(nodes: Nodes, tmp_path: Path) -> None:
    code, said = nodes.run(tmp_path)
    assert code == 0, said
    told = record(tmp_path)
    assert told["state"] == "done"
    assert (tmp_path / told["run"] / "pair" / "met.txt").read_text() == "together"
    assert beats(tmp_path, 1)[-1] == 19
    owner = nodes.bed.sh("gpu1", f"stat -c %U:%G /srv/gpulab/runs/{told['run']}/pair/met.txt").strip()
    assert owner == "lab:gpulab", "the caller's, and the group can read on"


def test_nodes_meet_over_the_fabric_where_it_is_another_network_than_the_inventorys(
    nodes: Nodes, tmp_path: Path
) -> None:
    with second_network(nodes) as first:
        plan = nodes.inv(tmp_path, "plan", "pair", "--hosts", str(nodes.inventory))
        assert f"meet at {first}:29400 over eth1" in plan.communicate(timeout=120)[0]
        code, said = nodes.run(tmp_path)
        assert code == 0, said
        assert f"at {first}" in log(tmp_path), "where the first node listened"
        nodes.bed.sh("gpu2", "ip address flush dev eth1")
        code, said = nodes.run(tmp_path)
    assert code == 2
    assert "gpu2: /etc/nccl.conf names eth1, which has no address" in said, said


@contextmanager
def second_network(nodes: Nodes) -> Iterator[str]:
    """A network of the hosts' own, of which the inventory knows nothing; the first host's address in it."""
    name = f"{nodes.bed.prefix}-fabric"
    subnet = free_subnet(7)
    ensure_network(name, f"{subnet}.0/24")
    try:
        for number, host in enumerate(nodes.hosts, start=11):
            engine.docker("network", "connect", "--ip", f"{subnet}.{number}", name, nodes.bed.container(host))
            nodes.bed.sh(host, "echo NCCL_SOCKET_IFNAME=eth1 > /etc/nccl.conf")
        yield f"{subnet}.11"
    finally:
        for host in nodes.hosts:
            nodes.bed.sh(host, "rm /etc/nccl.conf", check=False)
            engine.docker("network", "disconnect", "--force", name, nodes.bed.container(host), check=False)
        engine.docker("network", "rm", name)


def test_nodes_behind_a_bastion_meet_and_their_files_come_back(nodes: Nodes, tmp_path: Path) -> None:
    inventory = nodes.bed.inventory(tmp_path / "hosts" / "gpus.ini")
    behind = replace(nodes, inventory=inventory)
    with bastion(nodes.bed, nodes.hosts, inventory):
        words = ["trust", "--yes", "--hosts", str(inventory)]
        try:
            assert behind.inv(tmp_path, *words).wait(timeout=60) == 0
            code, said = behind.run(tmp_path)
        finally:
            forget = [word for host in nodes.bed.addresses for word in ("--forget", host)]
            behind.inv(tmp_path, *words, *forget).wait(timeout=60)
    assert code == 0, said
    assert (tmp_path / record(tmp_path)["run"] / "pair" / "met.txt").read_text() == "together"


def test_a_dry_run_is_a_script_that_runs_by_itself(nodes: Nodes, tmp_path: Path) -> None:
    code, script = nodes.run(tmp_path, "--dry")
    assert code == 0, script
    (tmp_path / "plan.sh").write_text(script)
    done = subprocess.run(
        ["bash", tmp_path / "plan.sh", tmp_path / "by-hand"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "beat 19" in done.stdout


@pytest.mark.parametrize("victim", ["gpu1", "gpu2"])
def test_a_killed_node_is_named_and_the_others_are_stopped(nodes: Nodes, beating: Any, victim: str) -> None:
    process, runs = beating
    nodes.kill(victim)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    rank = nodes.hosts.index(victim)
    assert re.search(rf"node {rank} \({victim}\) of pair ended with exit 137", said), said[-2000:]
    assert record(runs)["state"] == "failed"
    assert not nodes.containers()


def test_ctrl_c_stops_it_on_every_host(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert (process.returncode, record(runs)["state"]) == (130, "interrupted")
    assert not nodes.containers()


def test_a_lost_ssh_connection_is_taken_up_again(nodes: Nodes, tmp_path: Path) -> None:
    process = nodes.start(tmp_path, beats=150)
    wait_until(lambda: beats(tmp_path, 1), "both nodes beat", timeout=60)
    for host in nodes.hosts:
        nodes.bed.sh(host, "pkill -KILL -u lab sshd || pkill -KILL -u lab -f sshd", check=False)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said[-2000:]
    assert beats(tmp_path, 1) == list(range(150)), "no line lost, none twice"


def test_a_dead_host_is_named_within_the_deadline(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    engine.docker("pause", nodes.bed.container("gpu2"))
    try:
        said = process.communicate(timeout=180)[0]
    finally:
        engine.docker("unpause", nodes.bed.container("gpu2"))
    assert process.returncode == 1
    assert "gpu2" in record(runs)["failures"][0], said[-2000:]
    # what knocked while it was away is still in sshd's queue, which turns others away
    ask = [REPO / "inv", "hosts", "--hosts", nodes.inventory]
    wait_until(lambda: subprocess.run(ask, capture_output=True).returncode == 0, "gpu2 lets us in again")


@pytest.mark.rehearsal
def test_a_rank_that_is_killed_while_it_trains_is_named(nodes: Nodes, tmp_path: Path) -> None:
    """Not its container: the launcher lives on, and the other node's rank fails for want of it."""
    process = nodes.start(tmp_path, lab="train")
    wait_until(lambda: "'5/" in log(tmp_path, "train"), "it trains", timeout=120)
    nodes.bed.sh("gpu2", "pkill -KILL --newest -f cli/sft")
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    failure = record(tmp_path)["failures"][0]
    assert "node 1 (gpu2) of train ended with exit 1, a rank of it by SIGKILL" in failure, said[-3000:]
    assert not nodes.containers()


@pytest.mark.rehearsal
def test_a_disk_that_is_full_on_one_node_while_it_trains_is_named_as_the_cause(nodes: Nodes, tmp_path: Path) -> None:
    """The folder that the first node saves into is on a file system of 64 KiB from one step to the next."""
    process = nodes.start(tmp_path, lab="train")
    wait_until(lambda: "'3/" in log(tmp_path, "train"), "it trains", timeout=120)
    out = tmp_path / record(tmp_path)["run"] / "train"
    pid = f"$(docker inspect -f '{{{{.State.Pid}}}}' $(docker ps -q {LABEL}))"
    nodes.bed.sh("gpu1", f"nsenter -t {pid} -m mount -t tmpfs -o size=64k,mode=777 none {out}")
    said = process.communicate(timeout=300)[0]
    first, cause = record(tmp_path)["failures"]
    assert process.returncode == 1
    assert "node 0 (gpu1) of train ended with exit 1" in first, said[-3000:]
    assert "disk is full" in cause
    assert not nodes.containers()


@pytest.mark.rehearsal
def test_a_cut_between_the_nodes_is_reported_in_time_and_the_run_resumes(nodes: Nodes, tmp_path: Path) -> None:
    """Packets between the hosts are dropped while the real ms-swift trains; the way from here stays open."""
    process = nodes.start(tmp_path, lab="train")
    wait_until(lambda: "'15/" in log(tmp_path, "train"), "it trains", timeout=120)
    with nodes.bed.cut("gpu2", "gpu1"):
        said = process.communicate(timeout=QUIET + 240)[0]
    old = record(tmp_path)
    assert (process.returncode, old["state"]) == (1, "failed"), said[-2000:]
    assert re.search(r"gpu2 does not reach gpu1 at \S+ any more \(timed out\)", old["failures"][0]), old["failures"]
    assert not nodes.containers()

    resumed = nodes.inv(tmp_path, "resume", old["run"])
    wait_until(lambda: len(nodes.containers("").split()) == 2, "its nodes run again", 120)
    nodes.left(resumed, tmp_path)
    following = nodes.inv(tmp_path, "attach", "last")
    said = following.communicate(timeout=180)[0]
    assert following.returncode == 0, said[-3000:]
    new = record(tmp_path)
    assert new["resumes"] == old["run"]
    assert re.fullmatch(r"checkpoint-[1-9]0", new["taken_over"]["checkpoint"]), "judged on the host, where it lies"
    evidence = {p["proof"]: p["evidence"] for s in new["steps"] for p in s.get("proofs", [])}
    assert re.fullmatch(r"steps 1 to \d+ in order, each once", evidence["went on from its checkpoint"])
