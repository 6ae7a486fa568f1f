"""The role fabric: the network that collectives use."""

import json
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import REPO, dpkg, name_of

NODE_FACTS = (REPO / "gpulab/inside/node_facts.py").read_text()


@check("fabric.interface", "set fabric_interface for this host and provision again")
def test_nccl_is_told_an_interface_that_is_up(host: Host) -> None:
    settings = dict(line.split("=", 1) for line in host.run("cat /etc/nccl.conf").stdout.splitlines())
    assert "NCCL_SOCKET_IFNAME" in settings
    interface = settings["NCCL_SOCKET_IFNAME"]
    assert interface != "lo"
    assert " UP " in host.run(f"ip -brief link show {interface}").stdout, f"{interface} is not up"


@check(
    "fabric.used", "see `ip -brief address` on the host; give the interface an address, or set another fabric_interface"
)
def test_a_run_would_use_the_interface_that_was_chosen(host: Host, variables: dict[str, Any]) -> None:
    ask = f"python3 - /none /none {variables.get('ansible_host', name_of(host))}"
    answer = host.run(f"{ask} <<'END_OF_FACTS'\n{NODE_FACTS}\nEND_OF_FACTS\n")
    assert answer.rc == 0, answer.stderr.strip().splitlines()[-1:]
    told = json.loads(answer.stdout)
    chosen = host.run("sed -n s/^NCCL_SOCKET_IFNAME=//p /etc/nccl.conf").stdout.strip()
    wanted = str(variables.get("fabric_interface", chosen))
    assert not told["no_interface"], told["no_interface"]
    assert {told["interface"], chosen} == {chosen if "{{" in wanted else wanted}


@pytest.fixture(scope="module")
def ports(host: Host, variables: dict[str, Any]) -> dict[str, str]:
    """The state of each port of the RDMA adapters; a host that has none skips."""
    found = host.run(f"cd {variables['validate_rdma_path']} && grep -H . */ports/*/state").stdout.splitlines()
    if not found:
        pytest.skip(f"{name_of(host)} has no RDMA adapter")
    return dict(line.split("/state:") for line in found)


@check("fabric.rdma", "see `ibstat` and the cable")
def test_rdma_ports_are_active(ports: dict[str, str]) -> None:
    assert [port for port, state in ports.items() if "ACTIVE" not in state] == []


@check("fabric.rdma-packages")
def test_programs_can_use_rdma(host: Host, ports: dict[str, str], variables: dict[str, Any]) -> None:
    wanted = set(variables["fabric_rdma_packages"])
    assert wanted - set(dpkg(host, sorted(wanted))) == set()
