"""The role base: the ground every host stands on."""

from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import dpkg, stays


@check("base.packages")
def test_packages_are_installed(host: Host, variables: dict[str, Any]) -> None:
    wanted = set(variables["base_packages"])
    assert wanted - set(dpkg(host, sorted(wanted))) == set()


@check("base.time")
def test_the_clock_is_kept(host: Host, variables: dict[str, Any]) -> None:
    if not variables["base_time_service"]:
        pytest.skip("others keep the clock (base_time_service)")
    assert stays(host, "chrony") == ""


@check("base.limits")
def test_users_have_the_limits(host: Host, variables: dict[str, Any]) -> None:
    limits = variables["base_limits"]
    user = variables["base_user"]
    # In KiB and in files; pam_limits sets them for whoever logs in.
    got = host.run(f"su - {user} -c 'ulimit -l; ulimit -n'").stdout.split()
    assert got == [str(limits["memlock"]), str(limits["nofile"])]


@check("base.service-limits")
def test_services_have_the_limits(host: Host, variables: dict[str, Any]) -> None:
    promises = variables["base_limits"]
    # limits.conf counts memory in KiB, systemd in bytes.
    memlock = promises["memlock"]
    wanted = {
        "DefaultLimitMEMLOCK": "infinity" if memlock == "unlimited" else str(int(memlock) * 1024),
        "DefaultLimitNOFILE": str(promises["nofile"]),
    }
    shown = host.run(f"systemctl show --property={','.join(wanted)}").stdout.split()
    assert dict(line.split("=") for line in shown) == wanted


@check("base.kernel-settings")
def test_the_kernel_settings_are_in_force(host: Host, variables: dict[str, Any]) -> None:
    wanted = {name: str(value) for name, value in variables["base_kernel_settings"].items()}
    rows = (line.split("=", 1) for line in host.run(f"sysctl {' '.join(wanted)}").stdout.splitlines())
    assert {name.strip(): " ".join(value.split()) for name, value in rows} == wanted


@check("base.user")
def test_the_lab_user_has_the_same_numbers_everywhere(host: Host, variables: dict[str, Any]) -> None:
    user = variables["base_user"]
    numbers = host.run(f"id -u {user}; id -g {user}").stdout.split()
    assert numbers == [str(variables["base_uid"]), str(variables["base_gid"])]


@check(
    "base.name-resolution", "set the host's DNS server, or its name in /etc/hosts: NCCL and Gloo look up their own name"
)
def test_the_host_finds_its_own_name(host: Host) -> None:
    own = host.run("hostname").stdout.strip()
    assert host.run(f"getent hosts {own}").rc == 0, f"{own} does not resolve"


@check("base.dpkg", "sudo dpkg --configure -a, or provision again, which does it")
def test_no_installation_was_interrupted(host: Host) -> None:
    assert host.run("dpkg --audit").stdout.strip() == ""


@pytest.mark.parametrize("folder", ["/dev/shm", "/tmp"])  # noqa: S108 (they are looked at, not written)
@check("base.scratch", "mount it with room: data loaders and NCCL keep their buffers there (base_shm_size)")
def test_there_is_room_for_buffers(host: Host, folder: str) -> None:
    free = int(host.run(f"df --output=avail --block-size=1M {folder}").stdout.split()[-1])
    assert free >= 32, f"{folder} has {free} MiB free"
