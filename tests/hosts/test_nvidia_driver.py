"""The role nvidia_driver: one version, loaded, held."""

from typing import Any

from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import dpkg, stays

REBOOT = "reboot the host, or provision with --reboot"


def wanted(variables: dict[str, Any], node: dict[str, Any]) -> str:
    version: str = variables.get("nvidia_driver_version", node["driver"])
    return version


@check("nvidia_driver.version")
def test_the_pinned_driver_is_installed(
    host: Host, gpus: list[str], variables: dict[str, Any], node: dict[str, Any]
) -> None:
    found = dpkg(host, ["nvidia-open*", "cuda-drivers*"])
    assert [v for v, _ in found.values() if v.startswith(wanted(variables, node))], f"installed: {found}"


@check("nvidia_driver.held")
def test_an_upgrade_leaves_the_driver_alone(driver: dict[str, tuple[str, bool]]) -> None:
    assert all(held for _, held in driver.values()), f"not on hold: {driver}"


@check("nvidia_driver.running", REBOOT)
def test_the_pinned_driver_is_running(
    host: Host, driver: dict[str, tuple[str, bool]], variables: dict[str, Any], node: dict[str, Any]
) -> None:
    path = variables["validate_driver_path"]
    assert host.run(f"cat {path}").stdout.strip() == wanted(variables, node)


@check("nvidia_driver.answers", REBOOT)
def test_library_and_kernel_module_have_one_version(host: Host, driver: dict[str, tuple[str, bool]]) -> None:
    answer = host.run("nvidia-smi -L")
    assert answer.rc == 0, answer.stdout.strip() or answer.stderr.strip()


@check("nvidia_driver.persistence")
def test_the_gpus_stay_initialised(host: Host, smi: list[dict[str, str]]) -> None:
    assert stays(host, "nvidia-persistenced") == ""
    assert {gpu["persistence_mode"] for gpu in smi} == {"Enabled"}
