"""The role registry: images inside the lab."""

from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import name_of, stays


@check("registry.runs")
def test_it_runs_now_and_after_a_boot(host: Host, variables: dict[str, Any]) -> None:
    if variables["registry_host"] != name_of(host):
        pytest.skip("the registry is another host's, or there is none (registry_host)")
    assert stays(host, "docker-registry") == ""


@check("registry.answers")
def test_every_host_reaches_it(host: Host, variables: dict[str, Any], hosts: list[Host]) -> None:
    keeper = variables["registry_host"]
    if not keeper:
        pytest.skip("the inventory names no registry_host")
    places = {h.backend.host: h.ansible.get_variables().get("ansible_host", h.backend.host) for h in hosts}
    address = f"{places.get(keeper, keeper)}:{variables['registry_port']}"
    assert host.run(f"curl --silent --fail --max-time 10 http://{address}/v2/").rc == 0, f"{address} does not answer"
