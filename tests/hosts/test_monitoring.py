"""The role monitoring: metrics of hosts and GPUs."""

import json
import time
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import name_of

# A collector that was started a moment ago has not asked everybody yet; it does so every 15 s.
FIRST_ROUND = 20


def address(host: Host) -> str:
    """The address of the default route's interface, where the role lets the exporters listen."""
    return str(json.loads(host.run("ip -json route get 192.0.2.1").stdout)[0]["prefsrc"])


def collector(variables: dict[str, Any], hosts: list[Host]) -> str:
    groups = variables.get("groups", {})
    default = min(groups.get("controller") or [name_of(h) for h in hosts])
    name: str = variables.get("monitoring_host", default)
    return name


def targets(host: Host, place: str) -> list[dict[str, Any]]:
    answer = host.run(f"curl --silent --max-time 10 http://{place}/api/v1/targets?state=active")
    assert answer.rc == 0, f"no collector answers on {place}"
    found: list[dict[str, Any]] = json.loads(answer.stdout)["data"]["activeTargets"]
    return found


def unseen(host: Host, place: str) -> dict[str, str]:
    return {t["labels"]["host"]: t["lastError"] for t in targets(host, place) if t["health"] != "up"}


@check("monitoring.host")
def test_the_hosts_metrics_are_offered(host: Host, variables: dict[str, Any]) -> None:
    place = variables.get("monitoring_address", address(host))
    answer = host.run(
        f"curl --silent --max-time 10 http://{place}:{variables.get('monitoring_node_port', 9100)}/metrics"
    )
    assert "node_cpu_seconds_total" in answer.stdout


@check("monitoring.gpu")
def test_the_gpus_metrics_are_offered(host: Host, gpus: list[str], variables: dict[str, Any]) -> None:
    if not variables.get("monitoring_gpu", True):
        pytest.skip("the inventory says monitoring_gpu=false")
    place = variables.get("monitoring_address", address(host))
    answer = host.run(
        f"curl --silent --max-time 10 http://{place}:{variables.get('monitoring_gpu_port', 9400)}/metrics"
    )
    assert "DCGM_FI_DEV_GPU_TEMP" in answer.stdout


@check("monitoring.collected")
def test_the_collector_sees_every_host(host: Host, variables: dict[str, Any], hosts: list[Host]) -> None:
    if name_of(host) != collector(variables, hosts):
        pytest.skip("another host collects")
    place = variables.get("monitoring_prometheus_listen", "127.0.0.1:9090")
    deadline = time.monotonic() + FIRST_ROUND
    while (sick := unseen(host, place)) and time.monotonic() < deadline:
        time.sleep(1)
    assert sick == {}
    assert {t["labels"]["host"] for t in targets(host, place)} >= {name_of(h) for h in hosts}
