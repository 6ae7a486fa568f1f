"""The role monitoring: metrics of hosts and GPUs."""

import json
import time
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import name_of, stays

# The collector asks everybody every 15 s; where it or an exporter was started a moment ago, the second round counts.
TWO_ROUNDS = 45


def address(host: Host) -> str:
    """The address of the default route's interface, where the role lets the exporters listen."""
    return str(json.loads(host.run("ip -json route get 192.0.2.1").stdout)[0]["prefsrc"])


def collector(variables: dict[str, Any], hosts: list[Host]) -> str:
    groups = variables.get("groups", {})
    default = min(groups.get("controller") or groups.get("all") or [name_of(h) for h in hosts])
    name: str = variables.get("monitoring_host", default)
    return name


def unseen(host: Host, place: str, wanted: set[str]) -> dict[str, str]:
    """The hosts that the collector does not see, each with the reason."""
    answer = host.run(f"curl --silent --fail --max-time 10 http://{place}/api/v1/targets?state=active")
    if answer.rc:
        return dict.fromkeys(wanted, f"the collector does not answer on {place}")
    targets = json.loads(answer.stdout)["data"]["activeTargets"]
    sick = {t["labels"]["host"]: t["lastError"] or t["health"] for t in targets if t["health"] != "up"}
    return sick | dict.fromkeys(wanted - {t["labels"]["host"] for t in targets}, "not asked")


@check("monitoring.host")
def test_the_hosts_metrics_are_offered(host: Host, variables: dict[str, Any]) -> None:
    place = variables.get("monitoring_address", address(host))
    answer = host.run(f"curl --silent --max-time 10 http://{place}:{variables['monitoring_node_port']}/metrics")
    assert "node_cpu_seconds_total" in answer.stdout
    assert stays(host, "prometheus-node-exporter") == ""


@check("monitoring.gpu")
def test_the_gpus_metrics_are_offered(host: Host, answering: None, variables: dict[str, Any]) -> None:
    if not variables.get("monitoring_gpu", True):
        pytest.skip("the inventory says monitoring_gpu=false")
    place = variables.get("monitoring_address", address(host))
    answer = host.run(f"curl --silent --max-time 10 http://{place}:{variables['monitoring_gpu_port']}/metrics")
    assert "DCGM_FI_DEV_GPU_TEMP" in answer.stdout


@check("monitoring.collected")
def test_the_collector_sees_every_host(host: Host, variables: dict[str, Any], hosts: list[Host]) -> None:
    if name_of(host) != collector(variables, hosts):
        pytest.skip("another host collects")
    assert stays(host, "prometheus") == ""
    place = variables["monitoring_prometheus_listen"]
    deadline = time.monotonic() + TWO_ROUNDS
    while (sick := unseen(host, place, {name_of(h) for h in hosts})) and time.monotonic() < deadline:
        time.sleep(1)
    assert sick == {}


@check("monitoring.page")
def test_the_collectors_host_shows_the_page(host: Host, variables: dict[str, Any], hosts: list[Host]) -> None:
    if name_of(host) != collector(variables, hosts) or not variables["monitoring_grafana"]:
        pytest.skip("the page is shown by another host, or by none (monitoring_grafana)")
    place = f"{variables['monitoring_grafana_address']}:{variables['monitoring_grafana_port']}"
    assert host.run(f"curl --silent --fail --location --max-time 10 --output /dev/null http://{place}/").rc == 0
