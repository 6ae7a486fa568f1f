"""Labs on real hosts: containers over ssh, two nodes that train as one, and what goes wrong while they do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpulab.engines.engine import QUIET
from tests.testbed import Testbed, engine
from tests.testbed.conftest import WITHOUT_DRIVER
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
PAIR_LAB = """\
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
# A server, whom two steps need, one after the other.
SERVED = """\
title: A step, a server, and two that need it
upstream: none
curriculum: none
stack: cpu
needs: {minutes: 1}
steps:
  first:
    run: python first.py {out}/first.txt
    makes: [first.txt]
  serve:
    run: python serve.py {port}
    ready: {chat: anyone, within: 30}
  slow:
    run: python slow.py {serve.port} {out}/slow.txt
    makes: [slow.txt]
  last:
    run: python slow.py {serve.port} {out}/last.txt
    makes: [last.txt]
rehearse: {}
"""
SERVE = """
import http.server, json, sys
class Chat(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.dumps({"choices": [{"message": {"content": "hi"}}]}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("0.0.0.0", int(sys.argv[1])), Chat).serve_forever()
"""
SLOW = """
import sys, time, urllib.request
for beat in range(60):
    urllib.request.urlopen(f"http://serve:{sys.argv[1]}", b"{}", timeout=5)
    print("beat", beat, flush=True)
    time.sleep(0.1)
open(sys.argv[2], "w").write("served")
"""
# ms-swift's own training on two nodes, which saves as it goes. Over gloo it waits without end for a node cut off.
TRAIN = """\
title: Two nodes train
upstream: none
curriculum: none
stack: cpu
model: Qwen/Qwen3-0.6B
needs: {nodes: 2, minutes: 1}
steps:
  train:
    run: >-
      swift sft train.yaml --model {model} --gradient_accumulation_steps 1 --save_steps 10
      --logging_steps 1 --num_train_epochs 3 --learning_rate 5.0e-3
    spread: true
    makes: [logging.jsonl, last-checkpoint/adapter_model.safetensors]
    proves: [loss falls, adapter moved]
rehearse:
  twin: qwen3
  speaks: data/train.jsonl
"""
LABS = {"pair": {"lab.yaml": PAIR_LAB, "pair.py": PAIR},
        "served": {"lab.yaml": SERVED, "serve.py": SERVE, "slow.py": SLOW,
                   "first.py": "import sys; open(sys.argv[1], 'a').write('first')"},
        "train": {"lab.yaml": TRAIN}}  # fmt: skip


@dataclass
class Nodes:
    """The two hosts, and labs of the tests' own to run on them."""

    bed: Testbed
    inventory: Path
    labs: Path

    def start(
        self, runs: Path, *words: str, beats: int = 20, lab: str = "pair", how: str = "--rehearse"
    ) -> subprocess.Popen[str]:
        """Start `inv lab pair --hosts ...` with the tests' labs in the place of the repository's."""
        own = self.labs / "tests" / "pair"
        (own / "lab.yaml").write_text(PAIR_LAB.replace(" 20 ", f" {beats} "))
        return self.inv(runs, "lab", lab, "--hosts", str(self.inventory), *([how] if how else []), *words)

    def inv(self, runs: Path, *words: str) -> subprocess.Popen[str]:
        """Start any verb of inv's on them."""
        argv = [sys.executable, "-m", "tests.testbed.inv_on_labs", self.labs, *words]
        return subprocess.Popen(
            argv, cwd=REPO, env={**os.environ, "GPULAB_RUNS": str(runs)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, runs: Path, *words: str, timeout: float = 120) -> tuple[int, str]:
        """Run it to its end: exit status and all that was said."""
        process = self.start(runs, *words)
        return (process.returncode, said) if (said := process.communicate(timeout=timeout)[0]) is not None else (0, "")

    def containers(self, *words: str) -> str:
        """What runs of the lab's on both hosts; with `--all` also what has ended."""
        asked = f"docker ps -q {' '.join(words)} --filter label=gpulab.run"
        return "".join(self.bed.sh(h, asked, check=False) for h in HOSTS)

    def left(self, process: subprocess.Popen[str], runs: Path) -> None:
        """Kill its inv as a lost laptop does; the next one finds the run gone on without it."""
        process.kill()
        process.wait()
        said = self.inv(runs, "runs").communicate(timeout=60)[0]
        assert "its inv is gone" in said and "./inv attach" in said, said
        assert record(runs)["state"] == "detached"


def record(runs: Path) -> dict[str, Any]:
    """The newest run's record; empty before there is one."""
    found = sorted(runs.glob("*/*/run.json"))
    return json.loads(found[-1].read_text()) if found else {}


def beats(runs: Path, rank: int) -> list[int]:
    """The beats of a node in the newest run's log."""
    log = runs / record(runs)["run"] / "logs" / "pair.log"
    return [int(number) for number in re.findall(rf"\[{rank}\] beat (\d+)", log.read_text())]


def runs_now(runs: Path, step: str) -> bool:
    return any(s["step"] == step and s["state"] == "running" for s in record(runs).get("steps", []))


def beats_are_seen(runs: Path) -> bool:
    return any("[1] beat" in log.read_text() for log in runs.glob("*/*/logs/pair.log"))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    bed = prepared(HOSTS, "nodes", gpus=1)
    labs = tmp_path_factory.mktemp("labs")
    shutil.copytree(REPO / "labs" / "train" / "multi-node", labs / "tests" / "train")
    for name, files in LABS.items():
        (labs / "tests" / name).mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (labs / "tests" / name / file).write_text(text)
    yield Nodes(bed, bed.inventory(user="lab"), labs)
    if not os.environ.get("GPULAB_TESTBED_KEEP"):
        bed.down()


@pytest.fixture
def beating(nodes: Nodes, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """A pair that is under way: (its inv, its runs folder)."""
    process = nodes.start(tmp_path, beats=2000)
    wait_until(lambda: beats_are_seen(tmp_path), "both nodes beat", timeout=60)
    yield process, tmp_path
    if process.poll() is None:
        process.kill()
    for host in HOSTS:
        nodes.bed.sh(host, "docker ps -aq --filter label=gpulab.run | xargs -r docker rm -f", check=False)


@pytest.mark.rehearsal
def test_two_hosts_train_as_one(nodes: Nodes, tmp_path: Path) -> None:
    """The lab train/multi-node with the real ms-swift: proven there, recorded here."""
    done = subprocess.run(
        [REPO / "inv", "lab", "multi-node", "--hosts", nodes.inventory, "--only", "swift,deepspeed", "--json"],
        env={**os.environ, "GPULAB_RUNS": str(tmp_path)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    told = record(tmp_path)
    assert told["hosts"] == list(HOSTS)
    assert told["image"]["id"].startswith("sha256:") if "image" in told else told["stack"]["image"]["id"]
    steps = {s["step"]: {p["proof"]: p["evidence"] for p in s.get("proofs", [])} for s in told["steps"]}
    states = steps["deepspeed"]["each rank holds at most 55% of the optimizer states"]
    assert states == "each of 2 ranks has at most 50% of the optimizer states", "ZeRO-2, over the network"
    evidence = steps["swift"]
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


def test_a_run_outlives_its_inv_and_is_followed_again_from_its_first_line(nodes: Nodes, tmp_path: Path) -> None:
    process = nodes.start(tmp_path, beats=200)
    wait_until(lambda: record(tmp_path).get("steps") and beats_are_seen(tmp_path), "both nodes beat", timeout=60)
    nodes.left(process, tmp_path)
    assert nodes.containers()
    before = record(tmp_path)
    following = nodes.inv(tmp_path, "attach", "last")
    wait_until(lambda: record(tmp_path)["state"] == "running" and beats_are_seen(tmp_path), "it is followed", 60)
    refused = nodes.inv(tmp_path, "attach", "last")
    assert "followed already" in refused.communicate(timeout=60)[0]
    said = following.communicate(timeout=120)[0]
    assert following.returncode == 0, said[-3000:]
    told = record(tmp_path)
    assert (told["state"], told["run"]) == ("done", before["run"])
    assert [s["step"] for s in told["steps"]] == ["pair"]
    assert told["steps"][0]["started"] == before["steps"][0]["started"]
    assert told["steps"][0]["artefacts"][0]["path"] == "met.txt"
    for rank in (0, 1):
        assert beats(tmp_path, rank) == list(range(200)), "no line lost, none twice"
    assert not nodes.containers("--all")


def test_what_ended_while_nobody_followed_is_judged_by_its_exit(nodes: Nodes, tmp_path: Path) -> None:
    process = nodes.start(tmp_path, beats=60)
    wait_until(lambda: beats_are_seen(tmp_path), "both nodes beat", timeout=60)
    nodes.left(process, tmp_path)
    wait_until(lambda: not nodes.containers(), "both nodes end by themselves", timeout=60)
    following = nodes.inv(tmp_path, "attach", "last")
    said = following.communicate(timeout=120)[0]
    assert following.returncode == 0, said[-3000:]
    (step,) = record(tmp_path)["steps"]
    assert (step["state"], step["exit"]) == ("done", 0)
    assert 6 <= step["seconds"] < 40, "as long as it ran, not until somebody asked"
    assert beats(tmp_path, 1) == list(range(60))


def test_a_node_killed_while_nobody_followed_is_named_by_who_attaches(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    nodes.left(process, runs)
    nodes.bed.sh("gpu2", "docker kill $(docker ps -q --filter label=gpulab.run)")
    following = nodes.inv(runs, "attach", "last")
    said = following.communicate(timeout=120)[0]
    assert following.returncode == 1
    assert "node 1 (gpu2) of pair ended with exit 137" in said, said[-2000:]
    assert record(runs)["state"] == "failed"
    assert not nodes.containers("--all")


def test_who_attaches_carries_out_what_is_left_with_the_same_server(nodes: Nodes, tmp_path: Path) -> None:
    process = nodes.start(tmp_path, lab="served")
    slow = "*/*/logs/slow.log"
    wait_until(lambda: any("beat" in f.read_text() for f in tmp_path.glob(slow)), "the slow step runs", timeout=90)
    nodes.left(process, tmp_path)
    server = nodes.bed.sh("gpu1", "docker ps -q --filter name=serve")
    following = nodes.inv(tmp_path, "attach", "last")
    wait_until(lambda: any(s["step"] == "slow" for s in record(tmp_path)["steps"]), "it is followed", timeout=60)
    assert nodes.bed.sh("gpu1", "docker ps -q --filter name=serve") == server
    said = following.communicate(timeout=120)[0]
    assert following.returncode == 0, said[-3000:]
    told = record(tmp_path)
    assert [(s["step"], s["state"]) for s in told["steps"]] == [
        (name, "done") for name in ("first", "serve", "slow", "last")
    ]
    assert (tmp_path / told["run"] / "first" / "first.txt").read_text() == "first", "done once"
    assert not nodes.containers("--all")


def test_a_run_that_nobody_follows_is_cancelled_on_every_host(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    nodes.left(process, runs)
    cancelled = nodes.inv(runs, "cancel", "last")
    said = cancelled.communicate(timeout=60)[0]
    assert cancelled.returncode == 0, said
    assert record(runs)["state"] == "interrupted"
    assert not nodes.containers("--all")
    again = nodes.inv(runs, "attach", "last")
    assert "is over: interrupted" in again.communicate(timeout=60)[0]
    assert again.returncode == 2


def test_cancelling_a_run_that_is_followed_ends_it_there(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    cancelled = nodes.inv(runs, "cancel", "last")
    assert cancelled.wait(60) == 0
    said = process.communicate(timeout=90)[0]
    assert process.returncode == 1
    assert "was removed by someone else (./inv cancel?)" in said, said[-2000:]
    assert not nodes.containers("--all")


def test_a_host_that_cannot_be_asked_is_named_and_the_run_stays_to_be_cancelled(nodes: Nodes, beating: Any) -> None:
    process, runs = beating
    nodes.left(process, runs)
    nodes.bed.sh("gpu2", "systemctl stop ssh.socket ssh; pkill -KILL -u lab", check=False)
    try:
        cancelled = nodes.inv(runs, "cancel", "last")
        said = cancelled.communicate(timeout=120)[0]
    finally:
        nodes.bed.sh("gpu2", "systemctl start ssh.socket ssh || systemctl start ssh", check=False)
    assert cancelled.returncode == 1
    assert "gpu2" in said and "may go on there" in said, said
    assert record(runs)["state"] == "detached"


def test_the_second_of_two_runs_on_the_same_hosts_is_refused(nodes: Nodes, beating: Any, tmp_path: Path) -> None:
    process, runs = beating
    other = tmp_path / "other"
    code, said = nodes.run(other)
    assert code == 2
    assert re.search(rf"gpu[12] is in use by the run {record(runs)['run']}", said), said
    assert not list(other.glob("tests-pair/*")), "nothing started, so there is no run"
    seen = len(beats(runs, 1))
    wait_until(lambda: len(beats(runs, 1)) > seen + 5, "the first goes on", timeout=30)
    assert process.poll() is None


def test_gpus_that_another_program_uses_are_refused(nodes: Nodes, tmp_path: Path) -> None:
    for host in HOSTS:
        nodes.bed.sh(host, WITHOUT_DRIVER)
    nodes.bed.sh("gpu2", "echo '4711, /usr/bin/python3' > /run/nvidia-standin/jobs")
    file = nodes.labs / "tests" / "train" / "lab.yaml"
    file.write_text(TRAIN.replace("nodes: 2", "nodes: 2, gpus: 1, vram_gib: 8"))
    try:
        process = nodes.start(tmp_path, lab="train", how="")
        said = process.communicate(timeout=90)[0]
    finally:
        file.write_text(TRAIN)
        for host in HOSTS:
            nodes.bed.sh(host, "rm -r /usr/bin/nvidia-smi /run/nvidia-standin")
    assert process.returncode == 2
    assert "the GPUs of gpu2 are in use: 4711, /usr/bin/python3" in said, said


@pytest.mark.rehearsal
def test_a_cut_between_the_nodes_is_reported_in_time_and_the_run_resumes(nodes: Nodes, tmp_path: Path) -> None:
    """Packets between the hosts are dropped while the real ms-swift trains; the way from here stays open."""
    process = nodes.start(tmp_path, lab="train")
    log = "*/*/logs/train.log"
    wait_until(lambda: any("'15/" in f.read_text() for f in tmp_path.glob(log)), "it trains", timeout=120)
    other = nodes.bed.addresses["gpu1"]
    nodes.bed.sh("gpu2", f"iptables -I INPUT -s {other} -j DROP; iptables -I OUTPUT -d {other} -j DROP")
    try:
        said = process.communicate(timeout=QUIET + 60)[0]
    finally:
        nodes.bed.sh("gpu2", f"iptables -D INPUT -s {other} -j DROP; iptables -D OUTPUT -d {other} -j DROP")
    old = record(tmp_path)
    assert (process.returncode, old["state"]) == (1, "failed"), said[-2000:]
    assert re.search(r"gpu2 does not reach gpu1 at \S+ any more \(timed out\)", old["failures"][0]), old["failures"]
    assert not nodes.containers("--all")

    resumed = nodes.inv(tmp_path, "resume", old["run"])
    wait_until(lambda: record(tmp_path)["run"] != old["run"] and runs_now(tmp_path, "train"), "it is begun again", 120)
    nodes.left(resumed, tmp_path)
    following = nodes.inv(tmp_path, "attach", "last")
    said = following.communicate(timeout=180)[0]
    assert following.returncode == 0, said[-3000:]
    new = record(tmp_path)
    assert new["resumes"] == old["run"]
    assert re.fullmatch(r"checkpoint-[1-9]0", new["taken_over"]["checkpoint"]), "judged on the host, where it lies"
    evidence = {p["proof"]: p["evidence"] for s in new["steps"] for p in s.get("proofs", [])}
    assert re.fullmatch(r"steps 1 to \d+ in order, each once", evidence["went on from its checkpoint"])


def test_a_lost_ssh_connection_is_taken_up_again(nodes: Nodes, tmp_path: Path) -> None:
    process = nodes.start(tmp_path, beats=150)
    wait_until(lambda: beats_are_seen(tmp_path), "both nodes beat", timeout=60)
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
