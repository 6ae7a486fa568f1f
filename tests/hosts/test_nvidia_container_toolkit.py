"""The role nvidia_container_toolkit: GPUs inside containers, and still there after a daemon-reload."""

from typing import Any

from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import dpkg, stays

NAMES = [
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
]
REFRESH = "sudo systemctl restart gpu-lab-nvidia-refresh"


@check("nvidia_container_toolkit.version")
def test_the_pinned_version_is_installed(
    host: Host, gpus: list[str], variables: dict[str, Any], node: dict[str, Any]
) -> None:
    version = variables.get("nvidia_container_toolkit_version", node["nvidia_container_toolkit"])
    assert {name: v.split("-")[0] for name, (v, _) in dpkg(host, NAMES).items()} == dict.fromkeys(NAMES, version)


@check("nvidia_container_toolkit.held")
def test_an_upgrade_leaves_it_alone(host: Host, gpus: list[str]) -> None:
    found = dpkg(host, NAMES)
    assert found and all(held for _, held in found.values()), f"not on hold: {found}"


@check("nvidia_container_toolkit.refresh")
def test_device_list_and_links_follow_the_driver(host: Host, gpus: list[str]) -> None:
    assert stays(host, "gpu-lab-nvidia-refresh.path") == ""
    assert host.run("systemctl is-enabled gpu-lab-nvidia-refresh.service").stdout.strip() == "enabled"


@check("nvidia_container_toolkit.cdi", REFRESH)
def test_the_device_list_is_that_of_the_running_driver(
    host: Host, gpus: list[str], answering: None, variables: dict[str, Any]
) -> None:
    running = host.run(f"cat {variables['validate_driver_path']}").stdout.strip()
    listed = host.run("cat /var/run/cdi/nvidia.yaml").stdout
    assert running and f"libcuda.so.{running}" in listed, f"the list is not for driver {running}"
    missing = [device for device in map(str, range(len(gpus))) if f"/dev/nvidia{device}" not in listed]
    assert missing == []


@check("nvidia_container_toolkit.device-links", REFRESH)
def test_a_daemon_reload_leaves_containers_their_gpus(host: Host, answering: None) -> None:
    """runc finds devices through /dev/char when systemd applies a container's rules again."""
    script = "for d in /dev/nvidia[0-9]* /dev/nvidiactl /dev/nvidia-uvm; do echo $d $(stat -c '%Hr:%Lr' $d); done"
    numbers = dict(line.split() for line in host.run(script).stdout.splitlines())
    links = set(host.run("ls /dev/char").stdout.split())
    assert [device for device, number in numbers.items() if number not in links] == []
