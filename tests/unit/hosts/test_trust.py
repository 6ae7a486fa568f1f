"""gpulab/hosts/trust.py and ssh.py, against a real sshd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.hosts import ssh_route
from gpulab.hosts.ansible import KNOWN_HOSTS
from gpulab.hosts.inventory import Host, load_hosts
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


@pytest.fixture
def configured(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's ssh_config and ansible.cfg, but of a list and a key of the test's own."""
    config = sshd.folder / "ssh_config"
    config.write_text(f"Host *\nUserKnownHostsFile {sshd.known_hosts}\nIdentityFile {sshd.folder}/login\n")
    monkeypatch.setattr(ssh_route, "CONFIG", config)
    last = f"-o UserKnownHostsFile={sshd.known_hosts} -o StrictHostKeyChecking=yes"
    monkeypatch.setattr(ssh_route, "ssh_settings", lambda: {"ssh_extra_args": last})
    return config


def behind(sshd: Sshd, bastion: Sshd, how: str) -> str:
    """An inventory's lines for a host behind a jump host, as people write them."""
    host = f"near ansible_host=127.0.0.1 ansible_port={sshd.port}"
    proxy = f"ssh -F {sshd.folder}/ssh_config -W %h:%p -p {bastion.port} 127.0.0.1"
    own = sshd.folder / "own_config"
    own.write_text(
        f"Host *\nIdentityFile {sshd.folder}/login\nUserKnownHostsFile {sshd.folder}/own_known_hosts\n"
        f"Host near\nHostName 127.0.0.1\nPort {sshd.port}\nProxyJump gate\n"
        f"Host gate\nHostName 127.0.0.1\nPort {bastion.port}\n"
    )
    return {
        "-J": f"{host} ansible_ssh_common_args='-J 127.0.0.1:{bastion.port}'",
        "ProxyJump": f"{host} ansible_ssh_common_args='-o ProxyJump=127.0.0.1:{bastion.port}'",
        "ProxyCommand": f"""{host} ansible_ssh_common_args='-o ProxyCommand="{proxy}"'""",
        "-F": f"near ansible_ssh_common_args='-F {own}'",
    }[how]


@pytest.mark.parametrize("how", ["-J", "ProxyJump", "-F"])
def test_a_jump_host_is_trusted_first_and_the_host_behind_it_through_it(
    sshd: Sshd, bastion: Sshd, configured: Path, tmp_path: Path, how: str
) -> None:
    inventory = tmp_path / "behind.ini"
    inventory.write_text(f"[gpu]\n{behind(sshd, bastion, how)}\n")
    outcome = trust(str(inventory), limit="", yes=True, forget=[])
    assert [row["state"] for row in outcome.data["hosts"]] == ["accepted", "accepted"], outcome.failures
    assert outcome.data["hosts"][0]["host"] == ("gate (jump host)" if how == "-F" else "127.0.0.1 (jump host)")
    assert problem(inventory) == ""
    assert states(inventory) == (["known", "known"], [])
    bastion.stop()
    assert problem(inventory), "there is no other way"
    bastion.start("bastion")


def test_behind_a_proxy_command_the_projects_list_stays(sshd: Sshd, bastion: Sshd, configured: Path, tmp_path: Path):
    """The command logs in to its jump host by itself, who must be known to it."""
    inventory = tmp_path / "behind.ini"
    inventory.write_text(f"[gpu]\n{behind(sshd, bastion, 'ProxyCommand')}\n")
    found, failures = states(inventory, yes=True)
    assert found == ["silent"]
    assert "can you log in to that one by ssh?" in failures[0]
    key = (sshd.folder / "bastion.pub").read_text()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{bastion.port} {key}")
    assert states(inventory, yes=True) == (["accepted"], [])
    assert problem(inventory) == ""


def test_a_key_that_changed_behind_a_jump_host_is_refused(
    sshd: Sshd, bastion: Sshd, configured: Path, tmp_path: Path
) -> None:
    inventory = tmp_path / "behind.ini"
    inventory.write_text(f"[gpu]\n{behind(sshd, bastion, '-J')}\n")
    states(inventory, yes=True)
    sshd.stop()
    sshd.start("second")
    assert states(inventory, yes=True)[0] == ["known", "changed"]
    assert problem(inventory) == "its host key is not the one accepted before"
    states(inventory, forget=["near"])
    assert states(inventory, yes=True) == (["known", "accepted"], [])


def test_the_projects_list_of_keys_stays_where_an_inventory_has_arguments_of_its_own() -> None:
    """The real ssh_config and ansible.cfg: for a host, and for the jump host before it."""
    host = Host("gpu1", "198.18.0.1", (), {"ansible_ssh_common_args": "-J ann@198.18.0.9:2222"})
    way = ssh_route.route(host)
    assert way.file == KNOWN_HOSTS
    assert way.jumps == ("ann@[198.18.0.9]:2222",)
    address, variables = ssh_route.jump_variables(host, way.jumps[0], ())
    jump = ssh_route.route(Host("jump", address, (), variables))
    assert (jump.key_name, jump.file) == ("[198.18.0.9]:2222", KNOWN_HOSTS)
    other = Host("gpu1", "198.18.0.1", (), {"ansible_ssh_common_args": "-o UserKnownHostsFile=/srv/other"})
    assert ssh_route.route(other).file == Path("/srv/other"), "an inventory may name another"
