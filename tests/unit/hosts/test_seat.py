"""Hosts whose clocks differ are refused before anything starts on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpulab.errors import UsageError
from gpulab.hosts.inventory import Host
from gpulab.hosts.seat import SKEW, Seat, refuse_skew
from gpulab.machine import this_machine


def seats(*ahead: float) -> list[Seat]:
    """Hosts gpu1, gpu2 ... whose clocks are so many seconds ahead of this machine's."""
    machine = this_machine()
    return [
        Seat(Host(f"gpu{n}", f"10.0.0.{n}"), machine, "7:7", Path("/srv"), {}, 10, 64, "eth0", "", False, ahead=a)
        for n, a in enumerate(ahead, 1)
    ]


def test_hosts_whose_clocks_differ_are_named_with_the_difference_and_the_cure():
    with pytest.raises(UsageError, match="the clocks of gpu2 and gpu3 differ by 95 s") as caught:
        refuse_skew(seats(0, -SKEW, 65))
    assert "chrony" in caught.value.cure


def test_it_is_their_difference_that_counts_not_this_machines_clock():
    refuse_skew(seats(3600, 3600 + SKEW - 1))
