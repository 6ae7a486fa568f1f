"""gpulab/hosts/trust.py and ssh.py, against a real sshd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.hosts.inventory import load_hosts
from gpulab.hosts.ssh import ask
from gpulab.hosts.trust import trust
from tests.unit.hosts.conftest import Sshd


def states(inventory: Path, *, yes: bool = False, forget: list[str] | None = None) -> tuple[list[str], list[str]]:
    outcome = trust(str(inventory), limit="", yes=yes, forget=forget or [])
    return [row["state"] for row in outcome.data.get("hosts", [])], outcome.failures


def problem(inventory: Path) -> str:
    return ask(load_hosts(str(inventory)), lambda _: ["true"], deadline=20)["near"].problem


def test_a_new_key_is_shown_accepted_once_and_then_known(sshd: Sshd) -> None:
    inventory = sshd.inventory()
    assert problem(inventory) == "its host key is not known yet"
    outcome = trust(str(inventory), limit="", yes=True, forget=[])
    expected = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(sshd.folder / "first.pub")], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert outcome.data["hosts"][0]["fingerprints"] == [f"{expected} (ED25519)"]
    assert states(inventory) == (["known"], [])
    assert problem(inventory) == ""


def test_nobody_there_to_say_yes_is_an_error_and_accepts_nothing(sshd: Sshd) -> None:
    with pytest.raises(UsageError, match="no terminal to ask on") as error:
        states(sshd.inventory())
    assert "--yes" in error.value.cure
    assert not sshd.known_hosts.exists()


def test_a_changed_key_is_refused_even_with_yes_and_cured_by_forget(sshd: Sshd) -> None:
    inventory = sshd.inventory()
    states(inventory, yes=True)
    before = sshd.known_hosts.read_text()
    sshd.stop()
    sshd.start("second")
    found, failures = states(inventory, yes=True)
    assert found == ["changed"]
    assert "--forget near" in failures[0]
    assert sshd.known_hosts.read_text() == before
    assert problem(inventory) == "its host key is not the one accepted before"
    states(inventory, forget=["near"])
    assert states(inventory, yes=True) == (["accepted"], [])
    assert problem(inventory) == ""


def test_a_host_that_does_not_answer_is_named(sshd: Sshd) -> None:
    inventory = sshd.inventory()
    states(inventory, yes=True)
    sshd.stop()
    found, failures = states(inventory)
    assert found == ["silent"]
    assert "near" in failures[0]
    assert problem(inventory).startswith("nothing answers on 127.0.0.1 port")
    sshd.start("first")


def test_a_host_that_hangs_costs_no_more_than_the_deadline(sshd: Sshd) -> None:
    inventory = sshd.inventory()
    states(inventory, yes=True)
    answer = ask(load_hosts(str(inventory)), lambda _: ["sleep", "60"], deadline=2)["near"]
    assert answer.problem == "no answer within 2 s"


def test_a_refused_login_names_the_user(sshd: Sshd) -> None:
    inventory = sshd.inventory()
    states(inventory, yes=True)
    (sshd.folder / "login.pub").write_text("")
    assert "refuses the login" in problem(inventory)
