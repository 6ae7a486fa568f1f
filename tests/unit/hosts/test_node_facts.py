"""gpulab/inside/node_facts.py: over which interface nodes would meet."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gpulab.common.paths import ROOT
from gpulab.inside.node_facts import choose, default_route, told_settings

# A management network, InfiniBand, a port without a cable, and what an engine makes.
HOST = {
    "lo": "127.0.0.1", "docker0": "172.17.0.1", "br-0123456789ab": "172.18.0.1", "veth12": "169.254.0.1",
    "eno1": "10.0.0.11", "eno10": "10.9.0.11", "ib0": "10.1.0.11", "ib1": "10.2.0.11", "eno2": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("conf", "interface"),
    [
        ("NCCL_SOCKET_IFNAME=ib0\n", "ib0"),
        ("NCCL_SOCKET_IFNAME=ib1\nNCCL_IB_HCA=mlx5\n", "ib1"),
        ("NCCL_DEBUG=INFO\nNCCL_SOCKET_IFNAME==ib1", "ib1"),
        ("NCCL_SOCKET_IFNAME=ib", "ib0"),
        ("NCCL_SOCKET_IFNAME=eno2,ib1", "ib1"),
        ("NCCL_SOCKET_IFNAME=^eno,ib0", "ib1"),
        ("NCCL_SOCKET_IFNAME=^=eno1,ib0,ib1", "eno10"),
        ("NCCL_SOCKET_IFNAME=eno1", "eno1"),
        ("NCCL_SOCKET_IFNAME=ib1\nNCCL_SOCKET_IFNAME=ib0", "ib0"),
    ],
)
def test_what_nccl_conf_chooses_is_taken_as_nccl_reads_it(conf, interface):
    assert choose(conf, HOST, ["10.0.0.11"], "eno1") == (interface, "")


def test_what_nccl_conf_sets_beside_the_interface_is_told_as_nccl_reads_it():
    conf = "# rails\nNCCL_SOCKET_IFNAME=ib0\n NCCL_IB_HCA = mlx5_0\n#NCCL_ALGO=Ring\nNCCL_NTHREADS=1\nNCCL_NTHREADS=3\n"
    assert told_settings(conf) == {"NCCL_IB_HCA": "mlx5_0", "NCCL_NTHREADS": "3"}


def test_a_chosen_interface_that_can_not_be_used_is_said_and_no_other_is_taken():
    gone = ("", "/etc/nccl.conf names ib7, which is not there")
    assert choose("NCCL_SOCKET_IFNAME=ib7", HOST, ["10.0.0.11"], "eno1") == gone
    down = ("", "/etc/nccl.conf names eno2, which has no address")
    assert choose("NCCL_SOCKET_IFNAME=eno2", HOST, ["10.0.0.11"], "eno1") == down
    inner = ("", "/etc/nccl.conf names docker0, which leads to no other host")
    assert choose("NCCL_SOCKET_IFNAME=docker0", HOST, ["10.0.0.11"], "eno1") == inner


def test_without_a_choice_it_is_where_the_host_is_reached_then_the_default_route():
    assert choose("", HOST, ["gpu1", "10.1.0.11"], "eno1")[0] == "ib0"
    assert choose("NCCL_DEBUG=INFO", HOST, ["gpu1.example"], "ib1")[0] == "ib1"
    assert choose("", HOST, ["gpu1.example"], "")[0] == "eno1"


@pytest.mark.parametrize("inner", ["docker0", "br-0123456789ab", "veth12", "virbr0"])
def test_the_bridge_of_an_engine_is_never_a_fabric(inner):
    found = {"lo": "127.0.0.1", inner: "172.17.0.1"}
    assert choose("", found, ["172.17.0.1"], inner) == ("", "no interface has an address")


def test_of_several_default_routes_the_nearest_counts():
    head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    rows = ["wlan0 00000000 0100000A 0003 0 0 600 00000000 0 0 0", "eno1 00000000 0100000A 0003 0 0 100 00000000 0 0 0"]
    assert default_route(head + "\n".join(rows)) == "eno1"
    assert default_route(head) == ""


def test_it_runs_by_itself_as_it_is_sent_to_hosts(tmp_path):
    """Only the standard library, from stdin, with another nccl.conf than this machine's."""
    conf = tmp_path / "nccl.conf"
    conf.write_text("NCCL_SOCKET_IFNAME=lo\nNCCL_IB_HCA=mlx5_0\n")
    script = (ROOT / "gpulab/inside/node_facts.py").read_text()
    argv = [sys.executable, "-I", "-", str(tmp_path), str(tmp_path / "none"), "gpu1", str(conf)]
    done = subprocess.run(argv, input=script, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["no_interface"] == "/etc/nccl.conf names lo, which leads to no other host"
    assert told["nccl"] == {"NCCL_IB_HCA": "mlx5_0"}
    assert (told["uid"], told["gid"]) == (os.getuid(), tmp_path.stat().st_gid)
