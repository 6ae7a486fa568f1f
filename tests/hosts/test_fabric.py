"""The role fabric: the network that collectives use."""

from testinfra.host import Host

from tests.hosts.check import check


@check("fabric.interface", "set fabric_interface for this host and provision again")
def test_nccl_is_told_an_interface_that_is_up(host: Host) -> None:
    settings = dict(line.split("=", 1) for line in host.run("cat /etc/nccl.conf").stdout.splitlines())
    assert "NCCL_SOCKET_IFNAME" in settings
    interface = settings["NCCL_SOCKET_IFNAME"]
    assert interface != "lo"
    assert " UP " in host.run(f"ip -brief link show {interface}").stdout, f"{interface} is not up"


@check("fabric.rdma", "see `ibstat` and the cable; provision with --tags fabric for the packages")
def test_rdma_ports_are_active(host: Host) -> None:
    states = host.run("cat /sys/class/infiniband/*/ports/*/state 2>/dev/null").stdout.splitlines()
    assert all("ACTIVE" in state for state in states), states
    if states:
        assert host.run("ibv_devices").rc == 0
