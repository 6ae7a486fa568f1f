"""gpulab/hosts/fingerprint.py: two hosts line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.hosts.fingerprint import difference, fingerprint, flat


def test_what_differs_is_told_with_both_values() -> None:
    one = {"system": {"kernel": "6.1", "cpus": 8}, "packages": {"held": ["a", "b"], "versions": {"x": "1", "y": "2"}}}
    other = {"system": {"kernel": "6.8", "cpus": 8}, "packages": {"held": ["a"], "versions": {"x": "1", "z": "3"}}}
    assert difference(flat(one), flat(other)) == {
        "system.kernel": ("6.1", "6.8"),
        "packages.held": ("a, b", "a"),
        "packages.versions.y": ("2", "-"),
        "packages.versions.z": ("-", "3"),
    }


def test_what_belongs_to_one_host_is_not_compared() -> None:
    assert flat({"network": {"own_addresses": ["10.0.0.1"], "default": "eth0"}}) == {"network.default": "eth0"}


def test_this_machine_is_like_itself(tmp_path: Path) -> None:
    inventory = tmp_path / "gpus.ini"
    inventory.write_text("[gpu]\na ansible_connection=local\nb ansible_connection=local\n")
    outcome = fingerprint(["a", "b"], str(inventory))
    assert outcome.failures == []
    assert outcome.data["fingerprints"]["a"]["system"]["kernel"]


def test_three_hosts_are_too_many(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 hosts given"):
        fingerprint(["a", "b", "c"], str(tmp_path))
