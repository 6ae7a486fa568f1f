"""gpulab/hosts/compute_node.py: which hosts are taken, whose clocks agree, how often a dead host is asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.hosts import compute_node as compute_node
from gpulab.hosts.inventory import Host
from gpulab.hosts.ssh import Answer
from gpulab.lab.written import Needs
from gpulab.plan.machine import Machine

HOSTS = [Host(f"gpu{n}", f"198.18.0.{n}") for n in range(1000)]


def taken(host: Host) -> compute_node.ComputeNode:
    machine = Machine(host.name, "Debian", "a CPU", 8, 64.0, "3.11", [])
    return compute_node.ComputeNode(
        host, machine, "1000:1000", Path("/srv/gpulab"), {}, 100.0, 64, "eth0", host.address, False, 0.0
    )


@pytest.fixture
def inventory(monkeypatch):
    monkeypatch.setattr(compute_node, "load_hosts", lambda *_: HOSTS)


@pytest.mark.parametrize("off", [0, 10, 990])
def test_of_a_thousand_hosts_the_first_that_answer_are_taken_after_few_rounds(inventory, monkeypatch, off):
    rounds = []

    def take(hosts, *_):
        rounds.append(len(hosts))
        return [taken(h) if HOSTS.index(h) >= off else UsageError(f"{h.name} is off") for h in hosts]

    monkeypatch.setattr(compute_node, "ask_compute_nodes", take)
    found = compute_node.find_compute_nodes(Needs(gpus=0), "gpus.ini", "", 2)
    assert [s.host.name for s in found] == [f"gpu{off}", f"gpu{off + 1}"]
    assert rounds[0] == 4, "two hosts need no thousand questions"
    assert len(rounds) <= 8


def test_where_all_are_off_it_ends_with_why(inventory, monkeypatch):
    monkeypatch.setattr(
        compute_node, "ask_compute_nodes", lambda hosts, *_: [UsageError(f"{h.name} is off") for h in hosts]
    )
    with pytest.raises(UsageError, match="gpu999 is off"):
        compute_node.find_compute_nodes(Needs(gpus=0), "gpus.ini", "", 2)


def test_a_host_that_does_not_answer_is_named(monkeypatch):
    silent = Answer(problem="it does not answer")
    monkeypatch.setattr(compute_node, "ask", lambda hosts, *_, **__: dict.fromkeys((h.name for h in hosts), silent))
    first, *_ = compute_node.ask_compute_nodes(HOSTS[:3], "gpus.ini")
    assert isinstance(first, UsageError)
    assert first.message == "gpu0: it does not answer"


def skewed(*ahead: float) -> list[compute_node.ComputeNode]:
    """Hosts whose clocks are so many seconds ahead of this machine's."""
    return [dataclasses.replace(taken(HOSTS[n]), ahead=a) for n, a in enumerate(ahead, 1)]


def test_hosts_whose_clocks_differ_are_named_with_the_difference_and_the_cure():
    with pytest.raises(UsageError, match="the clocks of gpu2 and gpu3 differ by 95 s") as caught:
        compute_node.refuse_skew(skewed(0, -compute_node.SKEW, 65))
    assert "chrony" in caught.value.cure


def test_it_is_their_difference_that_counts_not_this_machines_clock():
    compute_node.refuse_skew(skewed(3600, 3600 + compute_node.SKEW - 1))


def test_nodes_that_can_not_meet_over_the_chosen_network_are_refused_one_alone_is_not(inventory, monkeypatch):
    cut = dataclasses.replace(taken(HOSTS[1]), interface="", address="", no_interface="/etc/nccl.conf names ib0")
    monkeypatch.setattr(compute_node, "ask_compute_nodes", lambda hosts, *_: [taken(HOSTS[0]), cut])
    assert compute_node.find_compute_nodes(Needs(gpus=0), "gpus.ini", "", 1)
    with pytest.raises(UsageError, match=r"gpu1: /etc/nccl\.conf names ib0") as caught:
        compute_node.find_compute_nodes(Needs(gpus=0), "gpus.ini", "", 2)
    assert "fabric_interface" in caught.value.cure
