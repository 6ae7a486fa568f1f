"""Labs on real hosts: containers over ssh, two nodes that train as one, and what goes wrong while they do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.testbed import Testbed, engine
from tests.testbed.paths import REPO
from tests.testbed.prepared import prepared
from tests.testbed.stack_images import built
from tests.wait import wait_until

HOSTS = ("gpu1", "gpu2")
# Nodes that need each other, as a training does, but start in a second: the first meets each of the others.
PAIR = """
import os, socket, sys, time
rank, master = int(os.environ["NODE_RANK"]), (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
def meet():
    if rank == 0:
        server = socket.create_server(master)
        return [server.accept()[0] for _ in range(int(os.environ["NNODES"]) - 1)]
    while True:
        try:
            return [socket.create_connection(master, 5)]
        except OSError:
            time.sleep(0.1)
peers = meet()
for beat in range(int(sys.argv[1])):
    for peer in peers:
        peer.settimeout(30)
        peer.sendall(b".")
        if not peer.recv(1):
            sys.exit("another node is gone")
    print("beat", beat, flush=True)
    time.sleep(0.1)
if rank == 0:
    open(sys.argv[2], "w").write("together")
"""
LAB = """\
title: Two nodes that need each other
upstream: none
curriculum: none
stack: cpu
needs: {nodes: 2, minutes: 1}
steps:
  pair:
    run: python pair.py 20 {out}/met.txt
    spread: true
    makes: [met.txt]
rehearse: {}
"""


@dataclass
class Nodes:
    """The two hosts, and a lab of the tests' own to run on them."""

    bed: Testbed
    inventory: Path
    labs: Path

    def start(self, runs: Path, *words: str, beats: int = 20, lab: str = "pair") -> subprocess.Popen[str]:
        """Start `inv lab pair --hosts ...` with the tests' labs in the place of the repository's."""
        own = self.labs / "tests" / "pair"
        (own / "lab.yaml").write_text(LAB.replace(" 20 ", f" {beats} "))
        code = (
            "import sys, pathlib, gpulab.lab as lab; lab.LABS = pathlib.Path(sys.argv.pop(1));"
            "from gpulab.__main__ import main; main()"
        )
        argv = [sys.executable, "-c", code, str(self.labs), "lab", lab, "--hosts", str(self.inventory), "--rehearse"]
        return subprocess.Popen(
            [*argv, *words], cwd=REPO, env={**os.environ, "GPULAB_RUNS": str(runs)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, runs: Path, *words: str, timeout: float = 120) -> tuple[int, str]:
        """Run it to its end: exit status and all that was said."""
        process = self.start(runs, *words)
        return (process.returncode, said) if (said := process.communicate(timeout=timeout)[0]) is not None else (0, "")

    def containers(self) -> str:
        """What runs of the lab's on both hosts."""
        return "".join(self.bed.sh(h, "docker ps -q --filter label=gpulab.run", check=False) for h in HOSTS)


def record(runs: Path) -> dict[str, Any]:
    """The newest run's record; empty before there is one."""
    found = sorted(runs.glob("*/*/run.json"))
    return json.loads(found[-1].read_text()) if found else {}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    bed = prepared(HOSTS, "nodes")
    labs = tmp_path_factory.mktemp("labs")
    (labs / "tests" / "pair").mkdir(parents=True)
    (labs / "tests" / "pair" / "pair.py").write_text(PAIR)
    yield Nodes(bed, bed.inventory(user="lab"), labs)
    if not os.environ.get("GPULAB_TESTBED_KEEP"):
        bed.down()


@pytest.fixture
def beating(nodes: Nodes, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """A pair that is under way: (its inv, its runs folder)."""
    process = nodes.start(tmp_path, beats=2000)
    log = "*/*/logs/pair.log"
    wait_until(lambda: any("[1] beat" in f.read_text() for f in tmp_path.glob(log)), "both nodes beat", timeout=60)
    yield process, tmp_path
    if process.poll() is None:
        process.kill()
    for host in HOSTS:
        nodes.bed.sh(host, "docker ps -aq --filter label=gpulab.run | xargs -r docker rm -f", check=False)


@pytest.mark.rehearsal
def test_two_hosts_train_as_one(nodes: Nodes, tmp_path: Path) -> None:
    """The lab train/multi-node with the real ms-swift: proven there, recorded here."""
    done = subprocess.run(
        [REPO / "inv", "lab", "multi-node", "--hosts", nodes.inventory, "--json"],
        env={**os.environ, "GPULAB_RUNS": str(tmp_path)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    told = record(tmp_path)
    assert told["hosts"] == list(HOSTS)
    assert told["image"]["id"].startswith("sha256:") if "image" in told else told["stack"]["image"]["id"]
    evidence = {p["proof"]: p["evidence"] for s in told["steps"] for p in s.get("proofs", [])}
    assert evidence["every rank took part"] == "2 ranks on 2 nodes over gloo"
    assert "the same weights on 2 ranks" in evidence["ranks hold the same weights"]
    folder = tmp_path / told["run"]
    assert {f.name for f in (folder / "swift" / "ranks").iterdir()} == {"0.json", "1.json"}
    assert {json.loads(f.read_text())["host"] for f in (folder / "swift" / "ranks").iterdir()} == set(HOSTS)
    assert "[0] " in (folder / "logs" / "swift.log").read_text()
    assert not nodes.containers()


def test_nodes_meet_and_their_files_come_back(nodes: Nodes, tmp_path: Path) -> None:
    code, said = nodes.run(tmp_path)
    assert code == 0, said
    told = record(tmp_path)
    assert told["state"] == "done"
    assert (tmp_path / told["run"] / "pair" / "met.txt").read_text() == "together"
    assert "[1] beat 19" in (tmp_path / told["run"] / "logs" / "pair.log").read_text()
    owner = nodes.bed.sh("gpu1", f"stat -c %U:%G /srv/gpulab/runs/{told['run']}/pair/met.txt").strip()
    assert owner == "lab:gpulab", "the caller's, and the group can read on"


def test_a_dry_run_is_a_script_that_runs_by_itself(nodes: Nodes, tmp_path: Path) -> None:
    code, script = nodes.run(tmp_path, "--dry")
    assert code == 0, script
    (tmp_path / "plan.sh").write_text(script)
    done = subprocess.run(
        ["bash", tmp_path / "plan.sh", tmp_path / "by-hand"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "beat 19" in done.stdout


@pytest.mark.parametrize("victim", HOSTS)
def test_a_killed_node_is_named_and_the_others_are_stopped(nodes: Nodes, beating: Any, victim: str) -> None:
    process, runs = beating
    nodes.bed.sh(victim, "docker kill $(docker ps -q --filter label=gpulab.run)")
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    rank = HOSTS.index(victim)
    assert re.search(rf"node {rank} \({victim}\) of pair ended with exit 137", said), said[-2000:]
    assert record(runs)["state"] == "failed"
    assert not nodes.containers()


def test_ctrl_c_stops_it_on_every_host(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert (process.returncode, record(runs)["state"]) == (130, "interrupted")
    assert not nodes.containers()


def test_after_a_kill_9_the_next_inv_stops_what_is_left_on_the_hosts(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    process.kill()
    process.wait()
    assert nodes.containers()
    done = subprocess.run(
        [REPO / "inv", "runs"], env={**os.environ, "GPULAB_RUNS": str(runs)}, capture_output=True, text=True, check=True
    )
    assert "its inv was killed" in done.stdout
    assert record(runs)["state"] == "killed"
    assert not nodes.containers()


def test_a_lost_ssh_connection_is_taken_up_again(nodes: Nodes, tmp_path: Path) -> None:
    process = nodes.start(tmp_path, beats=150)
    log = "*/*/logs/pair.log"
    wait_until(lambda: any("[1] beat" in f.read_text() for f in tmp_path.glob(log)), "both nodes beat", timeout=60)
    for host in HOSTS:
        nodes.bed.sh(host, "pkill -KILL -u lab sshd || pkill -KILL -u lab -f sshd", check=False)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said[-2000:]
    whole = (tmp_path / record(tmp_path)["run"] / "logs" / "pair.log").read_text()
    assert [int(n) for n in re.findall(r"\[1\] beat (\d+)", whole)] == list(range(150)), "no line lost, none twice"


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


def test_a_taken_master_port_is_said_before_anything_starts(nodes: Nodes, tmp_path: Path) -> None:
    nodes.bed.sh("gpu1", "systemd-run -q --unit taken python3 -c 'import socket, time; "
                 "s = socket.create_server((\"0.0.0.0\", 29400)); time.sleep(600)'")  # fmt: skip
    try:
        code, said = nodes.run(tmp_path)
    finally:
        nodes.bed.sh("gpu1", "systemctl stop taken")
    assert code == 2
    assert "port 29400 of gpu1" in said
    assert not list(tmp_path.glob("*/*")) + list(tmp_path.glob(".active/*")), "nothing started, so there is no run"


def test_a_node_without_the_shared_folder_is_said_before_anything_starts(nodes: Nodes, tmp_path: Path) -> None:
    nodes.bed.sh("gpu2", "mount -t tmpfs none /srv/gpulab && install -d -m 2777 -g gpulab /srv/gpulab/runs")
    try:
        code, said = nodes.run(tmp_path)
    finally:
        nodes.bed.sh("gpu2", "umount /srv/gpulab")
    assert code == 2
    assert "gpu2 does not see" in said
    assert "is not shared" in said


def test_a_full_shared_disk_is_one_line(nodes: Nodes, tmp_path: Path) -> None:
    for host in HOSTS:
        nodes.bed.sh(host, "mount -t tmpfs -o size=64k none /srv/gpulab/runs && chown gpulab:gpulab /srv/gpulab/runs "
                     "&& chmod 2775 /srv/gpulab/runs")  # fmt: skip
    try:
        code, said = nodes.run(tmp_path)
    finally:
        for host in HOSTS:
            nodes.bed.sh(host, "umount /srv/gpulab/runs")
    assert code == 2
    assert re.search(r"GiB free|disk of gpu1 is full", said), said


def test_another_image_under_the_same_tag_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    tag = built("cpu")
    nodes.bed.sh(
        "gpu2", f"docker tag {tag} kept:1; printf 'FROM kept:1\\nLABEL other=1\\n' | docker build -q -t {tag} -"
    )
    try:
        code, said = nodes.run(tmp_path)
    finally:
        nodes.bed.sh("gpu2", f"docker tag kept:1 {tag}")
    assert code == 2
    assert "gpu2 and gpu1 have different images" in said


def test_a_host_without_the_image_is_told_how_to_get_it(nodes: Nodes, tmp_path: Path) -> None:
    tag = built("cpu")
    nodes.bed.sh("gpu2", f"docker tag {tag} kept:1; docker rmi -f {tag}")
    try:
        code, said = nodes.run(tmp_path)
    finally:
        nodes.bed.sh("gpu2", f"docker tag kept:1 {tag}")
    assert code == 2
    assert f"gpu2 has no image {tag}" in said


def test_more_nodes_than_hosts_is_wrong_usage(nodes: Nodes, tmp_path: Path) -> None:
    code, said = nodes.run(tmp_path, "--nodes", "3")
    assert code == 2
    assert "3 nodes are asked for" in said
