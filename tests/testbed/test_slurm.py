"""A Slurm cluster: made, proven, broken and repaired; sick nodes drained. In this order."""

import base64

import pytest

from tests.testbed.breakages import SICK_NODES, SLURM, Sickness
from tests.testbed.conftest import Lab
from tests.testbed.test_fresh_hosts import failed
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
    outcomes = cluster.verify("all", "-k", "test_slurm")
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
    assert failed(cluster.verify("all", "-k", "test_slurm")) == set().union(*(b.failing for b in SLURM))
    told = cluster.converged(*ROLE, "--check", "--diff")
    for host in ("head", *NODES):
        expected = {task for b in SLURM if b.host == host for task in b.reported_by}
        assert {task for task in told.changed(host) if "Restart" not in task} == expected, host
    cluster.converged(*ROLE)
    assert failed(cluster.verify("all", "-k", "test_slurm")) == set()


@pytest.mark.parametrize("sickness", SICK_NODES, ids=lambda s: s.reason)
def test_a_sick_node_is_drained_with_the_reason_and_comes_back(cluster: Lab, sickness: Sickness) -> None:
    cluster.bed.sh("node1", sickness.script)
    try:
        # The first node in order is node1; the job meets the sickness there and starts on the other.
        number = cluster.bed.sh("head", "sbatch --parsable --output=/dev/null --wrap=true").strip()
        wait_until(lambda: state(cluster, "node1").startswith("drain"), "node1 is drained", 30)
        assert sickness.reason in state(cluster, "node1")
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
