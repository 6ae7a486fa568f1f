"""The role slurm on other systems than the scenarios' Debian 13: a controller, and a node with an older release."""

from collections.abc import Iterator

import pytest

from tests.testbed import Node
from tests.testbed.conftest import WITHOUT_DRIVER, Lab, lab
from tests.testbed.outcomes import failed
from tests.testbed.standin.repository import Repository

# (the controller's system, the node's): Slurm 23.11 with 22.05, and 22.05 with 21.08.
PAIRS = (("noble", "bookworm"), ("bookworm", "jammy"))
BEFORE = ("docker.io", "chrony", "curl")


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def cluster(request: pytest.FixtureRequest, repository: Repository) -> Iterator[Lab]:
    controller, node = request.param
    hosts = [
        Node("head", controller, 0, BEFORE, shares=True, group="controller"),
        Node("node1", node, 2, BEFORE, shares=True),
    ]
    with lab("systems", hosts, repository) as two:
        two.bed.sh("node1", WITHOUT_DRIVER)
        yield two


def test_it_becomes_a_cluster_that_runs_jobs_and_stays_one(cluster: Lab) -> None:
    cluster.converged("--tags", "slurm")
    again = cluster.converged("--tags", "slurm")
    assert [again.changed(host) for host in ("head", "node1")] == [[], []]
    outcomes = cluster.verify("all", "-k", "test_slurm")
    assert failed(outcomes) == set()
    assert outcomes["slurm.srun@head"] == outcomes["slurm.gpus@node1"] == "passed"
