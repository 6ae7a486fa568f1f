"""Two fresh hosts, one bookworm with Docker's packages, one trixie with the distribution's: from nothing to proven."""

from collections.abc import Iterator

import pytest

from tests.testbed import Node
from tests.testbed.conftest import Lab, lab
from tests.testbed.standin.repository import Repository

SNAPSHOT = "dpkg-query --show; find /etc /srv /opt /usr/local -type f -exec sha256sum {} + | sort; systemctl list-unit-files --no-pager"
# What only names another task's outcome when the packages are not there yet; the run itself does it.
AFTERWARDS = ("Restart", "Refresh", "Find what the CDI list says")


@pytest.fixture(scope="module")
def two(repository: Repository) -> Iterator[Lab]:
    nodes = [Node("gpu1", "bookworm"), Node("gpu2", "trixie", variables="docker_engine_source=distribution")]
    yield from lab("two", nodes, repository)


def test_a_check_of_fresh_hosts_changes_nothing_and_says_what_would(two: Lab) -> None:
    before = {node.name: two.bed.sh(node.name, SNAPSHOT) for node in two.bed.nodes}
    checked = two.converged("--check", "--diff")
    assert {node.name: two.bed.sh(node.name, SNAPSHOT) for node in two.bed.nodes} == before

    done = two.converged()
    for host in before:
        announced, happened = set(checked.changed(host)), set(done.changed(host))
        would = {task for task in announced if "Say what would be installed" in task}
        assert announced - would - happened == set(), "announced, but did not happen"
        roles = {task.split(" : ")[0] for task in happened}
        assert {task.split(" : ")[0] for task in announced} == roles, "each role that changed something was announced"


def test_every_promise_is_kept(two: Lab) -> None:
    outcomes = two.verify()
    assert [check for check, outcome in outcomes.items() if outcome == "failed"] == []
    assert sum(outcome == "passed" for outcome in outcomes.values()) > 60


def test_a_second_run_changes_nothing(two: Lab) -> None:
    again = two.converged()
    assert again.changed("gpu1") == again.changed("gpu2") == []
