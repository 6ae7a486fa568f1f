"""From nothing to proven; a second run; and hosts that drifted, seen, told and repaired. In this order."""

from tests.testbed.breakages import BETWEEN_HOSTS, OTHERWISE, REPAIRED
from tests.testbed.conftest import Lab
from tests.testbed.outcomes import failed

SNAPSHOT = """
dpkg-query --show
find /etc /srv /opt /usr/local -type f -exec sha256sum {} + | sort
systemctl list-unit-files --no-pager
"""
WOULD = "Say what would be installed"


def test_a_check_of_fresh_hosts_changes_nothing_and_says_what_would(hosts: Lab) -> None:
    names = [node.name for node in hosts.bed.nodes]
    before = {name: hosts.bed.sh(name, SNAPSHOT) for name in names}
    checked = hosts.converged("--check", "--diff")
    assert {name: hosts.bed.sh(name, SNAPSHOT) for name in names} == before

    done = hosts.converged()
    for name in names:
        announced = {task for task in checked.changed(name) if WOULD not in task}
        happened = set(done.changed(name))
        assert announced - happened == set(), "announced, but did not happen"
        roles = {task.split(" : ")[0] for task in happened}
        assert {task.split(" : ")[0] for task in checked.changed(name)} == roles, (
            "every role that changed something was announced"
        )


def test_every_promise_is_kept(provisioned: Lab) -> None:
    outcomes = provisioned.verify()
    assert failed(outcomes) == set()
    assert sum(outcome == "passed" for outcome in outcomes.values()) > 60


def test_a_second_run_changes_nothing(provisioned: Lab) -> None:
    again = provisioned.converged()
    assert {node.name: again.changed(node.name) for node in provisioned.bed.nodes} == {
        "gpu1": [],
        "gpu2": [],
        "cpu1": [],
    }


def test_drift_is_noticed_told_exactly_and_repaired(provisioned: Lab) -> None:
    for breakage in REPAIRED + OTHERWISE:
        provisioned.bed.sh(breakage.host, breakage.script)
    assert failed(provisioned.verify()) == set().union(*(breakage.failing for breakage in REPAIRED + OTHERWISE))

    for breakage in OTHERWISE:
        provisioned.bed.sh(breakage.host, breakage.undo)
    told = provisioned.converged("--check", "--diff")
    for host in ("gpu1", "gpu2", "cpu1"):
        expected = {task for b in REPAIRED if b.host == host for task in b.reported_by}
        assert {task for task in told.changed(host) if "Restart" not in task} == expected, host

    provisioned.converged()
    assert failed(provisioned.verify()) == set()


def test_what_differs_between_hosts_is_noticed(provisioned: Lab) -> None:
    for breakage in BETWEEN_HOSTS:
        provisioned.bed.sh(breakage.host, breakage.script)
    try:
        assert failed(provisioned.verify("all", "-k", "test_across")) == {
            f"{c}@all" for b in BETWEEN_HOSTS for c in b.noticed_by
        }
    finally:
        for breakage in BETWEEN_HOSTS:
            provisioned.bed.sh(breakage.host, breakage.undo)
    assert failed(provisioned.verify("gpu2")) == set()
