"""Labs as jobs: submitted, followed, recorded; left, found again, cancelled; a node that dies. Slurm, munge, ssh and
Docker are real, ms-swift's image is a stand-in (standin/swift_image)."""

import json
import os
import signal
import uuid
from pathlib import Path

import pytest

from gpulab.images.image import Image
from gpulab.stacks.stack import load_stack
from tests.testbed.conftest import WITHOUT_DRIVER, Lab
from tests.testbed.engine import docker
from tests.testbed.jobs import NODES, Inv, finish, left_on, well
from tests.testbed.standin.swift_image import stand_in
from tests.wait import wait_until

SLOW = ("--set", "train.max_steps=600")  # a minute, long enough to be disturbed


@pytest.fixture(scope="module")
def cluster(slurm_cluster: Lab) -> Lab:
    stand_in(slurm_cluster.bed, NODES, Image(load_stack("cpu")).tag)
    well(slurm_cluster.bed, NODES)
    return slurm_cluster


@pytest.fixture
def inv(cluster: Lab, tmp_path: Path) -> Inv:
    return Inv(cluster, tmp_path / "runs")


def test_a_job_is_followed_and_leaves_the_same_record(inv: Inv) -> None:
    code, out = finish(inv.lab())
    record = inv.record
    assert code == 0, out
    assert [(s["step"], s["state"]) for s in record["steps"]] == [("train", "done"), ("serve", "done"), ("ask", "done")]
    assert record["state"] == "done" and record["engine"] == "slurm"
    train, _, ask = record["steps"]
    assert train["proofs"][0]["holds"] and {"logging.jsonl", "checkpoint-8/trainer_state.json"} == {
        a["path"] for a in train["artefacts"]
    }
    assert ask["artefacts"][0]["path"] == "answer.txt" and (inv.folder / "ask/answer.txt").read_text() == "Melvik"
    assert "from step 1 of 8" in (inv.folder / "logs/train.log").read_text()
    for node in NODES:
        assert left_on(inv, node) == "", f"left on {node}"


def test_a_step_that_fails_ends_the_job_with_its_status(inv: Inv) -> None:
    code, out = finish(inv.lab("--set", "train.seed=7"))
    assert code == 1, out
    assert inv.record["steps"][-1]["exit"] == 7 and len(inv.record["steps"]) == 1
    wait_until(lambda: inv.job()["JobState"] == "FAILED", "Slurm says so too", 20)


def test_a_step_that_proves_nothing_ends_the_job(inv: Inv) -> None:
    code, out = finish(inv.lab("--set", "train.max_steps=1"))
    assert code == 1, out
    assert any("does not prove «loss falls»" in failure for failure in inv.record["failures"])
    assert "begins" in (inv.folder / "journal").read_text() and "serve" not in (inv.folder / "journal").read_text()


def test_a_job_outlives_its_inv_and_is_found_again(inv: Inv) -> None:
    followed = inv.lab("--set", "train.max_steps=120")
    inv.wait_for_steps(1)
    os.killpg(followed.pid, signal.SIGKILL)
    followed.wait()
    assert "attach" in inv.run("runs")[1] and inv.record["state"] == "detached"
    assert inv.job()["JobState"] == "RUNNING"
    again = inv.start("attach", "last")
    wait_until(lambda: inv.record["state"] == "running", "it is followed again", 30)
    refused = inv.run("attach", "last")
    assert refused[0] == 2 and "followed already" in refused[1]
    code, out = finish(again)
    assert code == 0, out
    assert inv.record["state"] == "done" and inv.steps() == 120


def test_a_lost_connection_is_taken_up_again(inv: Inv) -> None:
    followed = inv.lab("--set", "train.max_steps=150")
    inv.wait_for_steps(1)
    inv.cluster.bed.sh("head", "pkill -f 'python3 -u - /srv/gpulab/runs'")
    code, out = finish(followed)
    assert code == 0, out
    assert inv.steps() == 150


def test_nodes_of_a_job_work_together(inv: Inv) -> None:
    code, out = finish(inv.lab(name="spread"))
    assert code == 0, out
    log = (inv.folder / "logs" / "train.log").read_text()
    master = inv.cluster.bed.addresses["node1"]
    for rank in ("0", "1"):
        assert f"{rank}: from step 1 of 4, node {rank} of 2, master {master}:" in log


def test_a_job_is_seen_in_the_queue_and_cancelled(inv: Inv) -> None:
    followed = inv.lab(*SLOW)
    inv.wait_for_steps(1)
    code, out = inv.run("queue", "--hosts", str(inv.cluster.inventory), "--json")
    (row,) = json.loads(out)["jobs"]
    assert code == 0 and row["state"] == "RUNNING" and row["name"] == "mechanics-job" and row["user"] == "lab"
    assert inv.run("cancel", "last")[0] == 0
    assert finish(followed)[0] == 1
    assert "cancelled" in inv.record["failures"][0]
    node = inv.job()["BatchHost"]
    wait_until(lambda: not inv.cluster.bed.sh(node, "docker ps -q --filter label=gpulab.job"), "its container ends", 30)


def test_ctrl_c_cancels_the_job(inv: Inv) -> None:
    followed = inv.lab(*SLOW)
    inv.wait_for_steps(1)
    followed.send_signal(signal.SIGINT)
    assert finish(followed)[0] == 130
    assert inv.record["state"] == "interrupted"
    wait_until(lambda: inv.job()["JobState"] == "CANCELLED", "the job is cancelled", 20)


def test_the_printed_script_is_enough(inv: Inv) -> None:
    """Submitted by a user who has nothing of the lab but the script."""
    code, script = finish(inv.lab("--dry"))
    assert code == 0, script
    bed, here = inv.cluster.bed, f"/srv/gpulab/runs/by-hand-{uuid.uuid4().hex[:8]}"
    bed.sh("head", f"install -d -o lab -m 2775 {here}; cat > {here}/plan.sh <<'END'\n{script}END\n")
    bed.sh("head", f"su - lab -c 'sbatch --wait --output={here}/out {here}/plan.sh {here}'", check=False)
    told = bed.sh("head", f"cd {here}; cat out journal logs/*; cat ask/answer.txt", check=False)
    assert told.endswith("Melvik"), told


def test_a_cancelled_job_is_resumed_as_a_new_one_from_its_last_whole_checkpoint(inv: Inv) -> None:
    followed = inv.lab("--set", "train.max_steps=100")
    inv.wait_for_steps(9)
    assert inv.run("cancel", "last")[0] == 0
    assert finish(followed)[0] == 1
    old, shared = inv.record, f"/srv/gpulab/runs/{inv.record['run']}/train"
    # the newest is torn, as a node leaves it that dies while it saves
    newest = int(inv.cluster.bed.sh("head", f"ls {shared} | sed -n s/checkpoint-//p | sort -n | tail -n 1"))
    inv.cluster.bed.sh("head", f"truncate -s 9 {shared}/checkpoint-{newest}/optimizer.pt")
    code, out = finish(inv.start("resume", "last"))
    assert code == 0, out
    assert f"train/checkpoint-{newest} is passed over: optimizer.pt is torn" in out
    assert inv.record["resumes"] == old["run"] and inv.record["job"] != old["job"]
    assert f"from step {newest - 1} of 100" in (inv.folder / "logs" / "train.log").read_text()
    proofs = {p["proof"]: p["evidence"] for p in inv.record["steps"][0]["proofs"]}
    assert proofs["went on from its checkpoint"] == "steps 1 to 100 in order, each once"


def test_a_step_that_an_interrupted_job_has_done_is_not_done_again(inv: Inv) -> None:
    followed = inv.lab()
    wait_until(lambda: any(s["state"] == "done" for s in inv.record.get("steps", [])), "the training is done", 60)
    followed.send_signal(signal.SIGINT)
    assert finish(followed)[0] == 130
    code, out = finish(inv.start("resume", "last"))
    assert code == 0, out
    assert "done already: train" in out
    assert [s["step"] for s in inv.record["steps"]] == ["train", "serve", "ask"]
    assert '"train", "what": "begins"' not in (inv.folder / "journal").read_text()
    assert (inv.folder / "ask" / "answer.txt").read_text() == "Melvik"


def test_a_job_that_loses_its_node_goes_on_from_its_last_checkpoint(inv: Inv) -> None:
    followed = inv.lab("--requeue", "--set", "train.max_steps=150")
    inv.wait_for_steps(5)
    dead = inv.job()["BatchHost"]
    docker("kill", inv.cluster.bed.container(dead))
    try:
        wait_until(lambda: inv.job()["Restarts"] == "1", "Slurm gives the node up", 120)
        # Slurm lets a job that lost its node wait two minutes; that much is Slurm's, and not tried here.
        inv.cluster.bed.sh("head", f"scontrol update job={inv.record['job']} starttime=now")
        code, out = finish(followed)
    finally:
        docker("start", inv.cluster.bed.container(dead))
        inv.cluster.bed.wait()
        # What is below /run was lost with the host, so it was drained when it came back.
        inv.cluster.bed.sh(dead, f"{WITHOUT_DRIVER}\n/etc/slurm/gpu-lab-health")
    assert code == 0, out
    assert inv.record["state"] == "done" and inv.job()["Restarts"] == "1"
    # The next job's epilog takes away what this one left there when the host died.
    inv.cluster.bed.sh("head", f"timeout 60 srun --nodelist={dead} true")
    wait_until(lambda: left_on(inv, dead) == "", f"nothing is left on {dead}", 30)
    log = (inv.folder / "logs" / "train.log").read_text()
    resumed = int(log.split("from step ")[2].split()[0])
    assert resumed > 1 and resumed % 2 == 1, "not from a checkpoint"
    assert f"goes on from checkpoint-{resumed - 1}" in log
    assert "started anew 1 times" in out


def test_a_job_that_no_node_could_take_is_refused_and_leaves_nothing(inv: Inv) -> None:
    before = inv.cluster.bed.sh("head", "ls -d /srv/gpulab/runs/*/*")
    code, out = finish(inv.lab("--nodes", "3", name="spread"))
    assert code == 2, out
    assert "Requested node configuration is not available" in out and "cure: " in out
    assert inv.record == {} and list(inv.runs.glob(".active/*")) == []
    assert inv.cluster.bed.sh("head", "ls -d /srv/gpulab/runs/*/*") == before


def test_a_second_users_job_waits_and_the_queue_says_why(inv: Inv) -> None:
    bed = inv.cluster.bed
    for host in ("head", *NODES):
        bed.sh(host, "usermod --append --groups docker,gpulab asks")
    path = bed.directory / "asks" / "gpus.ini"
    second = bed.inventory(path, inv.cluster.variables, user="asks")
    whole = 'sbatch --parsable --exclusive --nodes=2 --output=/dev/null --wrap="sleep 300"'
    first = bed.sh("head", f"su - lab -c 'cd /srv/gpulab/runs; {whole}'").strip()
    waiting = inv.start("lab", "job", "--engine", "slurm", "--hosts", str(second))
    wait_until(lambda: inv.record.get("job"), "it is submitted", 60)
    rows = {row["job"]: row for row in json.loads(inv.run("queue", "--hosts", str(second), "--json")[1])["jobs"]}
    assert (rows[first]["user"], rows[first]["state"]) == ("lab", "RUNNING")
    mine = rows[inv.record["job"]]
    assert (mine["user"], mine["state"], mine["where or why"]) == ("asks", "PENDING", "(Resources)")
    bed.sh("head", f"scancel {first}")
    code, out = finish(waiting)
    assert code == 0, out
    assert "pending, Resources" in out
    owner = bed.sh("head", f"stat -c %U:%G /srv/gpulab/runs/{inv.record['run']}/ask/answer.txt").strip()
    assert owner == "asks:gpulab"


def test_the_node_that_a_step_failed_on_is_named(inv: Inv) -> None:
    followed = inv.lab("--set", "train.max_steps=600", name="spread")
    log = "*/*/logs/train.log"
    wait_until(lambda: any("1: from step" in f.read_text() for f in inv.runs.glob(log)), "the second node trains", 60)
    inv.cluster.bed.sh("node2", "docker kill $(docker ps -q --filter label=gpulab.job)")
    code, out = finish(followed)
    assert code == 1, out
    assert "node 1 (node2) of train ended with exit 137" in inv.record["failures"][0]
    for node in NODES:
        wait_until(lambda node=node: left_on(inv, node) == "", f"nothing is left on {node}", 30)  # type: ignore[misc]


def test_nodes_that_are_cut_off_from_each_other_are_named_and_the_job_ends(
    inv: Inv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would wait for ever, and Slurm's controller reaches both."""
    monkeypatch.setenv("TESTS_QUIET", "10")
    followed = inv.lab(name="wait")
    log = "*/*/logs/train.log"
    wait_until(lambda: any(f.read_text().count("met") == 2 for f in inv.runs.glob(log)), "the nodes meet", 60)
    with inv.cluster.bed.cut("node2", "node1"):
        code, out = finish(followed, timeout=300)
    assert code == 1, out
    address = inv.cluster.bed.addresses["node2"]
    assert f"node1 does not reach node2 at {address} any more (timed out); the nodes" in inv.record["failures"][0]
    for node in NODES:
        wait_until(lambda node=node: left_on(inv, node) == "", f"nothing is left on {node}", 60)  # type: ignore[misc]
