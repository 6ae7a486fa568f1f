"""A Slurm cluster: made, proven, broken and repaired; sick nodes drained. In this order."""

import base64

import pytest

from tests.testbed.breakages import SICK_NODES, SLURM, Sickness
from tests.testbed.conftest import Lab
from tests.testbed.outcomes import failed
from tests.wait import wait_until

ROLE = ("--tags", "slurm")
NODES = ("node1", "node2")


@pytest.fixture(scope="module")
def cluster(slurm_cluster: Lab) -> Lab:
    return slurm_cluster


def state(cluster: Lab, node: str) -> str:
    return cluster.bed.sh("head", f"sinfo --noheader --Node --nodes={node} --format='%t %E'").strip()


def job(cluster: Lab, number: str) -> dict[str, str]:
    words = cluster.bed.sh("head", f"scontrol --oneliner show job {number}").split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def test_a_check_changes_nothing_and_says_what_would(slurm_ground: Lab) -> None:
    checked = slurm_ground.converged(*ROLE, "--check")
    assert slurm_ground.bed.sh("node1", "command -v slurmd || true; ls /etc/slurm/*.conf").split() == [
        "/etc/slurm/plugstack.conf"
    ]
    done = slurm_ground.converged(*ROLE)
    for host in ("head", *NODES):
        assert checked.changed(host), "nothing was announced"
        assert set(checked.changed(host)) - set(done.changed(host)) == set(), "announced, but did not happen"


def test_every_promise_is_kept(cluster: Lab) -> None:
    outcomes = cluster.verify("all", "-k", "test_slurm", "-n", "0")
    assert failed(outcomes) == set()
    assert outcomes["slurm.srun@head"] == outcomes["slurm.gpus@node2"] == outcomes["slurm.munge@node2"] == "passed"


def test_a_second_run_changes_nothing_and_tells_no_secret(cluster: Lab) -> None:
    again = cluster.converged(*ROLE, "--diff", "-vvv")
    assert [again.changed(host) for host in ("head", *NODES)] == [[], [], []]
    keys = {host: cluster.bed.sh(host, "base64 --wrap=0 /etc/munge/munge.key") for host in ("head", *NODES)}
    assert len(set(keys.values())) == 1 and len(base64.b64decode(keys["head"])) >= 32
    assert keys["head"][:40] not in again.output


def test_a_host_that_is_left_out_keeps_its_line(cluster: Lab) -> None:
    assert cluster.converged(*ROLE, "--limit", "node1").changed("node1") == []
    assert "NodeName=node2 " in cluster.bed.sh("node1", "cat /etc/slurm/slurm.conf")


def test_drift_is_noticed_told_exactly_and_repaired(cluster: Lab) -> None:
    for breakage in SLURM:
        cluster.bed.sh(breakage.host, breakage.script)
    wait_until(lambda: "*" in state(cluster, "node2").split()[0], "the controller misses node2", 60)
    assert failed(cluster.verify("all", "-k", "test_slurm", "-n", "0")) == set().union(*(b.failing for b in SLURM))
    told = cluster.converged(*ROLE, "--check", "--diff")
    for host in ("head", *NODES):
        expected = {task for b in SLURM if b.host == host for task in b.reported_by}
        assert {task for task in told.changed(host) if "Restart" not in task} == expected, host
    cluster.converged(*ROLE)
    assert failed(cluster.verify("all", "-k", "test_slurm", "-n", "0")) == set()


@pytest.mark.parametrize("sickness", SICK_NODES, ids=lambda s: s.reason)
def test_a_sick_node_is_drained_with_the_reason_and_comes_back(cluster: Lab, sickness: Sickness) -> None:
    cluster.bed.sh("node1", sickness.script)
    try:
        # The first node in order is node1; the job meets the sickness there and starts on the other.
        number = cluster.bed.sh("head", "sbatch --parsable --output=/dev/null --wrap=true").strip()
        wait_until(lambda: state(cluster, "node1").startswith("drain"), "node1 is drained", 30)
        assert sickness.reason in state(cluster, "node1")
        assert "slurm.health@node1" in failed(cluster.verify("node1", "-k", "test_the_node_is_well", "-n", "0"))
        cluster.bed.sh("head", f"scancel {number}")
    finally:
        cluster.bed.sh("node1", sickness.undo)
    cluster.bed.sh("node1", "/etc/slurm/gpu-lab-health")
    wait_until(lambda: state(cluster, "node1").split()[0] == "idle", "node1 is taken back", 30)


def test_an_admins_own_drain_is_left_alone(cluster: Lab) -> None:
    cluster.bed.sh("head", "scontrol update nodename=node1 state=drain reason=mine")
    cluster.bed.sh("node1", "/etc/slurm/gpu-lab-health")
    assert state(cluster, "node1").endswith("mine")
    cluster.bed.sh("head", "scontrol update nodename=node1 state=resume")


# The machine's kernel has cgroups of the first version: what the role asks of it is answered in its place.
KERNEL = """
printf '%s\\n' '#!/bin/sh' 'case "$*" in *cgroup.controllers) exit {};; *) exec /usr/bin/grep "$@";; esac' \
    > /usr/local/bin/grep
chmod 755 /usr/local/bin/grep
"""


def test_jobs_are_kept_apart_only_where_every_nodes_kernel_can(cluster: Lab) -> None:
    assert "ProctrackType=proctrack/linuxproc" in cluster.bed.sh("head", "cat /etc/slurm/slurm.conf")
    try:
        for kernels, kept_apart in (((0, 1), False), ((0, 0), True)):
            for node, answer in zip(NODES, kernels, strict=True):
                cluster.bed.sh(node, KERNEL.format(answer))
            told = cluster.converged(*ROLE, "--check", "--diff").output
            assert ("+ProctrackType=proctrack/cgroup" in told) == kept_apart
            assert ("+ConstrainDevices=yes" in told) == kept_apart
    finally:
        for node in NODES:
            cluster.bed.sh(node, "rm -f /usr/local/bin/grep")


def test_a_job_is_kept_to_its_processors_memory_and_gpus(cluster: Lab) -> None:
    """By cgroups of the first version, which Slurm understands, too. The GPUs get NVIDIA's device numbers: behind them
    there is nothing, but one that is forbidden is refused before that shows."""
    srun = "su - lab -c 'timeout 60 srun --nodelist=node1 --ntasks=1 --gpus=1 --mem=200M {}' 2>&1"
    with_gpus = "for gpu in 0 1; do mv /dev/nvidia$gpu /dev/was$gpu; mknod -m 666 /dev/nvidia$gpu c 195 $gpu; done"
    cluster.bed.sh("node1", with_gpus)
    try:
        cluster.converged(*ROLE, "--extra-vars", '{"slurm_cgroups": true}')
        wait_until(lambda: state(cluster, "node1").split()[0] == "idle", "node1 is there again", 30)
        look = 'sh -c "nproc; head -c 1 /dev/nvidia0; head -c 1 /dev/nvidia1"'
        told = cluster.bed.sh("head", srun.format(look), check=False)
        assert "1" in told.splitlines(), "one of two processors"
        assert "'/dev/nvidia0' for reading: No such device or address" in told, "its own, without hardware behind it"
        assert "'/dev/nvidia1' for reading: Operation not permitted" in told
        told = cluster.bed.sh("head", srun.format('python3 -c "bytearray(400 << 20)"'), check=False)
        assert "Out Of Memory" in told
    finally:
        # The cgroups are taken back by the next run of the role, see below.
        cluster.bed.sh("node1", "for gpu in 0 1; do rm /dev/nvidia$gpu; mv /dev/was$gpu /dev/nvidia$gpu; done")


def test_a_release_that_the_controller_does_not_understand_is_refused(cluster: Lab) -> None:
    older = 'case "$*" in *slurm-client) echo 22.05.8-4;; *) exec /usr/bin/dpkg-query "$@";; esac'
    cluster.bed.sh("node2", f"printf '%s\\n' '#!/bin/sh' '{older}' > /usr/local/bin/dpkg-query; "
                            "chmod 755 /usr/local/bin/dpkg-query")  # fmt: skip
    try:
        result = cluster.provision(*ROLE, "--limit", "node2")
    finally:
        cluster.bed.sh("node2", "rm /usr/local/bin/dpkg-query")
    assert result.code == 2
    (told,) = result.failures("node2")
    assert "node2 has Slurm 22.05, the controller head has 24.11" in told and "Cure: " in told


def test_who_used_what_is_kept_from_the_day_it_is_switched_on(cluster: Lab) -> None:
    """With slurmdbd and MariaDB, on a cluster that ran without; it stays on for the scenarios that follow."""
    account = ("--extra-vars", '{"slurm_accounting": true}')
    cluster.converged(*ROLE, *account)
    assert "ProctrackType=proctrack/linuxproc" in cluster.bed.sh("head", "cat /etc/slurm/slurm.conf")
    assert cluster.converged(*ROLE, *account).changed("head") == []
    wait_until(lambda: state(cluster, "node1").split()[0] == "idle", "node1 is there again", 30)
    number = cluster.bed.sh("head", "su - lab -c 'sbatch --wait --parsable --gpus=1 --output=/dev/null --wrap=true'")
    ask = f"sacct --jobs={number.strip()} --allocations --noheader --parsable2 --format=User,State,AllocTRES"
    wait_until(lambda: "COMPLETED" in cluster.bed.sh("head", ask), "the database knows the job", 30)
    user, _, used = cluster.bed.sh("head", ask).strip().split("|")
    assert user == "lab" and "gres/gpu=1" in used
