"""How fast the host's GPUs move data, measured inside the container that the labs use.

These take GPUs from jobs for some seconds, so they run only where the inventory names an image
with torch: gpu_image=...
"""

import json
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import REPO
from tests.hosts.test_gpu_health import type_of

PROGRAM = (REPO / "tests" / "hosts" / "bandwidth.py").read_text()


@pytest.fixture(scope="module")
def measured(
    host: Host, smi: list[dict[str, str]], docker_info: dict[str, Any], variables: dict[str, Any]
) -> dict[str, float]:
    if "gpu_image" not in variables:
        pytest.skip("the inventory names no gpu_image to measure in")
    runner = f"torchrun --nproc-per-node={len(smi)} /tmp/bandwidth.py"
    docker = "docker run --rm -i --gpus all --ipc host --entrypoint sh"
    answer = host.run(
        f"{docker} {variables['gpu_image']} -c 'cat > /tmp/bandwidth.py && {runner}' <<'END'\n{PROGRAM}\nEND"
    )
    assert answer.rc == 0, answer.stderr[-2000:]
    figures: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return figures


@check("gpu_bandwidth.container", "provision again with --tags nvidia_container_toolkit")
def test_a_container_sees_every_gpu(measured: dict[str, float], smi: list[dict[str, str]]) -> None:
    assert measured["gpus"] == len(smi)


@check("gpu_bandwidth.h2d", "see the PCIe lanes (gpu_health.pcie), the host's NUMA setting and its BIOS")
def test_host_to_device_is_fast(measured: dict[str, float], smi: list[dict[str, str]]) -> None:
    assert measured["h2d_gbs"] >= type_of(smi[0]["name"])["h2d_gbs"]


@check("gpu_bandwidth.all-reduce", "see gpu_health.nvlink, and NCCL_DEBUG=INFO for the transport it chose")
def test_all_reduce_is_fast(measured: dict[str, float], smi: list[dict[str, str]]) -> None:
    gate = type_of(smi[0]["name"])["all_reduce_gbs"]
    if len(smi) != 8 or not gate:
        pytest.skip(f"no figure for {len(smi)} x {smi[0]['name']}")
    assert measured["all_reduce_gbs"] >= gate
