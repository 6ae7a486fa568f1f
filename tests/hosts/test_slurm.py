"""The role slurm: one cluster, whose members trust each other and agree on what there is."""

import re
import time
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import dpkg, name_of, stays

ALL_HOSTS = "provision all hosts at once: ./inv provision --hosts gpus.ini --tags slurm"
# A daemon that was restarted a moment ago has not told the controller yet.
SETTLED = 20
WELL = {"IDLE", "ALLOCATED", "MIXED", "COMPLETING"}  # a star behind it: the node does not answer
SETTINGS = ("slurm.conf", "gres.conf", "cgroup.conf")
DAEMONS = ("munge", "slurmctld", "slurmd", "slurmdbd")


@pytest.fixture(scope="module")
def groups(variables: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = variables.get("groups", {})
    if not variables.get("slurm_enabled", bool(found.get("controller"))):
        pytest.skip("the inventory has no controller, or slurm_enabled=false")
    return found


@pytest.fixture(scope="module")
def controller(groups: dict[str, list[str]], variables: dict[str, Any], hosts: list[Host]) -> Host:
    name = variables.get("slurm_controller", min(groups["controller"]))
    found = [host for host in hosts if name_of(host) == name]
    if not found:
        pytest.skip(f"the controller {name} is not among the hosts (--limit)")
    return found[0]


@pytest.fixture(scope="module")
def member(host: Host, groups: dict[str, list[str]], variables: dict[str, Any]) -> Host:
    """A host that is part of the cluster."""
    inside = variables.get("slurm_nodes", groups.get("gpu", [])) + groups["controller"] + groups.get("login", [])
    if name_of(host) not in inside:
        pytest.skip(f"{name_of(host)} is no part of the cluster")
    return host


@pytest.fixture(scope="module")
def a_node(host: Host, groups: dict[str, list[str]], variables: dict[str, Any]) -> Host:
    """A host on which jobs run."""
    if name_of(host) not in variables.get("slurm_nodes", groups.get("gpu", [])):
        pytest.skip(f"no jobs run on {name_of(host)}")
    return host


def node(controller: Host, name: str) -> dict[str, str]:
    """What the controller knows of a node."""
    answer = controller.run("scontrol --oneliner show node %s", name)
    assert answer.rc == 0, f"the controller does not answer: {answer.stderr.strip()}"
    return dict(re.findall(r"(\w+)=(.*?)(?= \w+=|\s*$)", answer.stdout))


@check("slurm.runs")
def test_its_daemons_run_now_and_after_a_boot(member: Host) -> None:
    wanted = sorted({"munge", *dpkg(member, list(DAEMONS))})
    assert stays(member, *wanted) == ""


@check("slurm.munge", ALL_HOSTS)
def test_the_controller_believes_the_host(member: Host, controller: Host) -> None:
    credential = member.run("munge --no-input").stdout.strip()
    assert credential.startswith("MUNGE:"), "munge gives no credential"
    answer = controller.run("echo %s | unmunge --no-output", credential)
    assert answer.rc == 0, f"{name_of(controller)} says of {name_of(member)}: {answer.stderr.strip()}"


@pytest.mark.parametrize("name", SETTINGS)
@check("slurm.settings", ALL_HOSTS)
def test_the_settings_are_the_controllers(member: Host, controller: Host, name: str) -> None:
    script = f"sha256sum < /etc/slurm/{name}"
    assert member.run(script).stdout == controller.run(script).stdout


def is_well(told: dict[str, str]) -> bool:
    return set(told["State"].split("+")) <= WELL


@check("slurm.node", "see the reason, then: sudo scontrol update nodename=HOST state=resume (docs/slurm.md)")
def test_the_node_takes_jobs(a_node: Host, controller: Host) -> None:
    deadline = time.monotonic() + SETTLED
    while not is_well(told := node(controller, name_of(a_node))) and time.monotonic() < deadline:
        time.sleep(1)
    assert is_well(told), f"{told['State']}: {told.get('Reason', 'no reason given')}"


@check("slurm.health", "the line says what is wrong; Slurm takes the node back once it is well")
def test_the_node_is_well(a_node: Host) -> None:
    answer = a_node.run("/etc/slurm/gpu-lab-health")
    assert answer.rc == 0, answer.stderr.strip()


@check("slurm.gpus", ALL_HOSTS)
def test_jobs_get_every_gpu(a_node: Host, controller: Host, gpus: list[str], variables: dict[str, Any]) -> None:
    promised = int(variables.get("slurm_gpus", len(gpus)))
    assert node(controller, name_of(a_node))["Gres"].split("(")[0] == f"gpu:{promised}"


@check("slurm.srun", "see docs/slurm.md, what goes wrong; `scontrol ping` and `sinfo --list-reasons` first")
def test_a_job_runs_on_all_nodes_at_once(
    member: Host, controller: Host, groups: dict[str, list[str]], variables: dict[str, Any]
) -> None:
    if name_of(member) != name_of(controller):
        pytest.skip("tried from the controller")
    nodes = variables.get("slurm_nodes", groups.get("gpu", []))
    busy = [name for name in nodes if "ALLOCATED" in node(controller, name)["State"]]
    if busy:
        pytest.skip(f"jobs have all of {', '.join(busy)}")
    answer = controller.run(f"srun --nodes={len(nodes)} --mem=16M --immediate=20 sh -c 'echo $SLURMD_NODENAME'")
    assert answer.rc == 0, answer.stderr.strip()
    assert sorted(answer.stdout.split()) == sorted(nodes)
