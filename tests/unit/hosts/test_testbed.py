"""gpulab/hosts/testbed.py: what is refused before any host is made."""

from __future__ import annotations

import pytest

from gpulab.common.errors import UsageError
from gpulab.hosts import testbed as hosts
from tests.testbed.bed import rules_of


@pytest.mark.parametrize(("up", "down"), [("", False), ("2", True), ("two", False), ("0", False), ("99", False)])
def test_wrong_usage_names_what_is_right(up: str, down: bool) -> None:
    with pytest.raises(UsageError) as error:
        hosts.testbed(up=up, down=down, name="none", shared=False, controller=False)
    assert "--up" in error.value.message + error.value.cure


def test_a_machine_without_the_programs_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="mmdebstrap") as error:
        hosts.testbed(up="1", down=False, name="none", shared=False, controller=False)
    assert "packages.txt" in error.value.cure


@pytest.mark.parametrize("how", [{"shared": True, "controller": False}, {"shared": False, "controller": True}])
def test_how_hosts_are_made_is_not_said_when_they_go(how: dict[str, bool]) -> None:
    with pytest.raises(UsageError, match="how hosts are made"):
        hosts.testbed(up="", down=True, name="none", **how)


def test_a_killed_engines_rules_of_a_network_are_found_and_those_of_others_are_left() -> None:
    rules = """\
-P POSTROUTING ACCEPT
-A POSTROUTING -s 10.87.90.0/24 ! -o br-cbd3910e3f36 -j MASQUERADE
-A POSTROUTING -s 10.87.9.0/24 ! -o br-1a619ca8cf2f -j MASQUERADE
-A POSTROUTING -s 172.18.0.0/16 ! -o br-aaaaaaaaaaaa -j MASQUERADE
-A DOCKER -i br-cbd3910e3f36 -j RETURN
"""
    (left,) = rules_of("10.87.90.0/24", rules)
    assert left == ["POSTROUTING", "-s", "10.87.90.0/24", "!", "-o", "br-cbd3910e3f36", "-j", "MASQUERADE"]
