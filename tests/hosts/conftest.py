"""The hosts' promises, tried over ssh:

pytest tests/hosts --hosts=ansible://all --ansible-inventory=gpus.ini [-n 4]
"""

import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.hosts.check import not_tried

REPO = Path(__file__).resolve().parents[2]
LONGEST_SOCKET_FOLDER = 50  # of the 108 characters of a socket's path ssh adds 58
# What every role takes where the inventory says nothing; what is made of other variables is left to the checks.
DEFAULTS = {
    name: value
    for role in sorted((REPO / "ansible" / "roles").glob("*/defaults/main.yml"))
    for name, value in (yaml.safe_load(role.read_text()) or {}).items()
    if "{{" not in str(value)
}


def pytest_configure(config: pytest.Config) -> None:
    # Much of what was promised only root can see.
    os.environ["ANSIBLE_BECOME"] = "true"
    # testinfra keeps a connection for all checks of a host only where this folder is there. Ansible makes it where it
    # connects by itself, not by mitogen.
    sockets = Path("~/.ansible/cp").expanduser()
    with suppress(OSError):  # each check may log in anew
        if len(str(sockets)) < LONGEST_SOCKET_FOLDER:
            sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    # testinfra asks `ansible-inventory`, which lies beside the Python that runs this.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    config.addinivalue_line("markers", "check(name, cure): the check's name, and what to do when it fails")
    if told := getattr(config, "workerinput", {}).get("inventory"):
        AnsibleRunner.get_runner(config.option.ansible_inventory).inventory = told


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker (-n 4) is told what Ansible says of the inventory: to ask takes as long as many checks."""
    if file := node.config.option.ansible_inventory:
        node.workerinput["inventory"] = AnsibleRunner.get_runner(file).inventory


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Without hosts there is nothing to try."""
    return None if config.option.hosts else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Reports (JUnit, JSON) carry each check's name and cure."""
    for item in items:
        if marker := item.get_closest_marker("check"):
            item.user_properties += [("check", marker.args[0]), ("cure", marker.args[1])]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    marker = item.get_closest_marker("check")
    if marker and report.failed:
        report.sections.append(("cure", f"{marker.args[0]}: {marker.args[1]}"))
    return report


@pytest.fixture(scope="session")
def node() -> dict[str, Any]:
    """The versions that every host has."""
    pins: dict[str, Any] = yaml.safe_load((REPO / "docker" / "stacks.yml").read_text())["node"]
    return pins


@pytest.fixture(scope="module")
def variables(host: Host) -> dict[str, Any]:
    """What the inventory says of the host, above the roles' defaults."""
    return variables_of(host)


@pytest.fixture(scope="session")
def hosts(request: pytest.FixtureRequest) -> list[Host]:
    """All hosts at once, for what concerns more than one."""
    option = request.config.option
    return list(testinfra.get_hosts(option.hosts.split(","), ansible_inventory=option.ansible_inventory))


@pytest.fixture(scope="module")
def gpus(host: Host, variables: dict[str, Any]) -> list[str]:
    """The PCI addresses of the host's GPUs; a host that has none, and need not, skips."""
    found = find_gpus(host, variables)
    if not found:
        assert variables.get("gpu") != "required", "the inventory says gpu=required, the PCI bus shows none"
        pytest.skip(f"{name_of(host)} has no GPU")
    return found


@pytest.fixture(scope="module")
def driver(host: Host, gpus: list[str]) -> dict[str, tuple[str, bool]]:
    """The driver's packages: version, and whether they are held."""
    return dpkg(host, ["nvidia-open*", "cuda-drivers*"]) or not_tried("nvidia_driver.version")


@pytest.fixture(scope="module")
def answering(host: Host, driver: dict[str, tuple[str, bool]]) -> None:
    """A driver that answers."""
    if host.run("nvidia-smi -L").rc:
        not_tried("nvidia_driver.answers")


@pytest.fixture(scope="module")
def smi(host: Host, answering: None) -> list[dict[str, str]]:
    """What nvidia-smi says of each GPU."""
    answer = host.run("nvidia-smi --query-gpu=%s --format=csv,noheader,nounits", ",".join(SMI_FIELDS))
    assert answer.rc == 0, f"nvidia-smi: {answer.stdout.strip() or answer.stderr.strip()}"
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines()]
    return [dict(zip(SMI_FIELDS, row, strict=True)) for row in rows]


@pytest.fixture(scope="module")
def docker_info(host: Host) -> dict[str, Any]:
    answer = host.run("docker info --format '{{json .}}'")
    if answer.rc:
        not_tried("docker_engine.runs")
    info: dict[str, Any] = json.loads(answer.stdout)
    return info


SMI_FIELDS = (
    "index", "name", "driver_version", "persistence_mode", "ecc.errors.uncorrected.volatile.total",
    "retired_pages.pending", "remapped_rows.pending", "remapped_rows.failure",
    "pcie.link.width.current", "pcie.link.width.max", "temperature.gpu",
    "clocks_event_reasons.hw_slowdown", "clocks_event_reasons.hw_thermal_slowdown",
    "clocks_event_reasons.hw_power_brake_slowdown", "clocks_event_reasons.sw_thermal_slowdown",
)  # fmt: skip


def variables_of(host: Host) -> dict[str, Any]:
    return DEFAULTS | host.ansible.get_variables()


def name_of(host: Host) -> str:
    name: str = host.backend.host
    return name


def find_gpus(host: Host, variables: dict[str, Any]) -> list[str]:
    if variables.get("gpu") == "none":
        return []
    bus = variables["validate_pci_path"]
    script = f'for d in {bus}/*; do echo "${{d##*/}} $(cat $d/vendor) $(cat $d/class)"; done'
    rows = [line.split() for line in host.run(script).stdout.splitlines()]
    return [row[0] for row in rows if row[1:2] == ["0x10de"] and row[2].startswith(("0x0300", "0x0302"))]


def stays(host: Host, *units: str) -> str:
    """Why units do not run both now and after a boot, or nothing; a masked one may run until the next boot only."""
    states = {
        unit: host.run(f"systemctl is-active {unit}; systemctl is-enabled {unit}").stdout.split() for unit in units
    }
    return "; ".join(f"{u} is {' and '.join(s) or 'unknown'}" for u, s in states.items() if s != ["active", "enabled"])


def topology(matrix: str) -> dict[str, list[str]]:
    """Of `nvidia-smi topo -m` each GPU's row: how it is linked to every GPU, adapter and processor."""
    rows = (line.split() for line in matrix.splitlines() if re.match(r"GPU\d+\s", line))
    return {name: cells for name, *cells in rows}


def dpkg(host: Host, names: list[str]) -> dict[str, tuple[str, bool]]:
    """Of each installed package its version and whether it is held."""
    form = "${Package}\\t${Version}\\t${db:Status-Want}\\t${db:Status-Status}\\n"
    rows = [
        line.split("\t")
        for line in host.run(f"dpkg-query --show --showformat='{form}' {' '.join(names)}").stdout.splitlines()
    ]
    return {name: (version, want == "hold") for name, version, want, status in rows if status == "installed"}
