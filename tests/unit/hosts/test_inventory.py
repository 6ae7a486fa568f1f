"""gpulab/hosts/inventory.py, inventory_lint.py: read by the real ansible-inventory."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.hosts import inventory, inventory_lint
from gpulab.hosts.inventory import load_hosts


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "gpus.ini"
    path.write_text(text)
    return str(path)


def test_the_example_is_understood() -> None:
    hosts = {host.name: host for host in load_hosts(str(ROOT / "inventory.example"))}
    assert list(hosts) == ["gpu1", "node1", "node2", "head"]
    assert hosts["head"].groups == ("controller", "login")
    assert hosts["head"].variables["gpu"] == "none"
    assert hosts["node2"].variables["gpu"] == "required"
    assert hosts["node2"].address == "192.0.2.22"
    assert hosts["node2"].user == "ubuntu"


def test_what_was_begun_is_taken_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = write(tmp_path, "[gpu]\na ansible_host=192.0.2.1\n"), []
    ansible = inventory.ansible_inventory
    monkeypatch.setattr(inventory, "ansible_inventory", lambda of: asked.append(of) or ansible(of))
    inventory.begin(path)
    assert [host.name for host in load_hosts(path)] == ["a"]
    assert len(asked) == 1
    write(tmp_path, "[gpu]\na ansible_host=192.0.2.1\nb ansible_host=192.0.2.2\n")
    assert [host.name for host in load_hosts(path)] == ["a", "b"], "it may have changed since"


@pytest.mark.parametrize("text", [None, "[gpu]\na ansible_host=192.0.2.1\nthis is no ini\n"])
def test_what_is_wrong_with_what_was_begun_is_said_when_it_is_needed(tmp_path: Path, text: str | None) -> None:
    path = write(tmp_path, text) if text else str(tmp_path / "none.ini")
    inventory.begin(path)
    with pytest.raises(UsageError, match=r"gpus\.ini:3|no such inventory"):
        load_hosts(path)


def test_limit_takes_hosts_and_groups_in_the_inventorys_order(tmp_path: Path) -> None:
    path = write(
        tmp_path, "[gpu]\na ansible_host=192.0.2.1\nb ansible_host=192.0.2.2\n[storage]\nc ansible_host=192.0.2.3\n"
    )
    assert [host.name for host in load_hosts(path, "storage,a")] == ["a", "c"]
    with pytest.raises(UsageError, match="--limit stroage") as error:
        load_hosts(path, "stroage")
    assert "storage" in error.value.cure


def test_a_host_on_this_machine_needs_no_address(tmp_path: Path) -> None:
    (host,) = load_hosts(write(tmp_path, "[gpu]\nmine ansible_connection=local\n"))
    assert host.local


def test_an_inventory_in_yaml_works_too(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("gpu: {hosts: {a: {ansible_host: 192.0.2.1}}}\n")
    assert [host.groups for host in load_hosts(str(path))] == [("gpu",)]


MISTAKES = {
    "no ini": ("[gpu]\na ansible_host=192.0.2.1\nthis is no ini\n", 3, "'is' sets nothing", "without spaces"),
    "spaces": ("[gpu]\na ansible_host = 192.0.2.1\n", 2, "sets nothing", "without spaces"),
    "no value": ("[gpu]\na ansible_host=192.0.2.1\n[gpu:vars]\nansible_user lab\n", 4, "sets nothing", "name=value"),
    "open bracket": ("# x\n[gpu\na ansible_host=192.0.2.1\n", 2, "bracket is not closed", "[group]"),
    "open quotation": ("[gpu]\na ansible_host='192.0.2.1\n", 2, "quotation is not closed", ""),
    "range": ("[gpu]\na[01:1] ansible_host=192.0.2.1\n", 2, "range", "gpu[01:16]"),
    "section": ("[gpu]\na ansible_host=192.0.2.1\n[gpu:vrs]\n", 3, "no section is called vrs", "[group:vars]"),
    "vars of no group": ("[gpu]\na ansible_host=192.0.2.1\n[gpux:vars]\nx=1\n", 3, "no group [gpux]", "gpu"),
    "children of no group": (
        "[gpu]\nnode ansible_host=192.0.2.1\n[cluster:children]\ngpu\nnodes\n", 5, "no group [nodes]", "gpu",
    ),
    "group": ("[stroage]\na ansible_host=192.0.2.1\n", 1, "[stroage]", "[storage]"),
    "variable": ("[gpu]\na anisble_host=192.0.2.1\n", 2, "no variable anisble_host", "ansible_host"),
    "role's variable": ("[gpu]\na ansible_host=192.0.2.1\n[all:vars]\nbase_limts=1\n", 4, "base_limts", "base_limits"),
    "twice": ("[gpu]\na ansible_host=192.0.2.1\na\n", 3, "a stands here and on line 2", "keep one"),
    "two values": (
        "[gpu]\na ansible_host=192.0.2.1\n[login]\na ansible_host=192.0.2.2\n", 4, "192.0.2.1 on line 2", "keep one",
    ),
    "one address": ("[gpu]\na ansible_host=192.0.2.1\nb ansible_host=192.0.2.1\n", 3, "same address", "correct"),
    "no address": ("[gpu]\nno-such-host.invalid\n", 2, "no address", "ansible_host="),
    "bad address": ("[gpu]\na ansible_host=192.0.2.256\n", 2, "'192.0.2.256'", "ansible_host"),
    "port": ("[gpu]\na ansible_host=192.0.2.1 ansible_port=ssh\n", 2, "no number", "22"),
    "port in superscript": ("[gpu]\na ansible_host=192.0.2.1 ansible_port=²\n", 2, "no number from 1", "22"),
    "port 0": ("[gpu]\na ansible_host=192.0.2.1 ansible_port=0\n", 2, "no number from 1", "22"),
    "port 65536": ("[gpu]\na ansible_host=192.0.2.1 ansible_port=65536\n", 2, "1 to 65535", "22"),
    "port -1": ("[gpu]\na ansible_host=192.0.2.1 ansible_port=-1\n", 2, "1 to 65535", "22"),
    "port of 5000 digits": (f"[gpu]\na ansible_host=192.0.2.1 ansible_port={'1' * 5000}\n", 2, "1 to 65535", "22"),
    "byte order mark": ("\ufeff[gpu]\na ansible_host=192.0.2.1\n", 1, "byte order mark", "without one"),
    "open quotation of variables": ("[gpu]\na\n[gpu:vars]\nx='1\n", 4, "quotation is not closed", "name="),
    "open quotation of a name": ("[gpu]\n'a ansible_host=192.0.2.1\n", 2, "quotation is not closed", ""),
    "NUL": ("[gpu]\na\0 ansible_host=192.0.2.1\n", 2, r"control character '\x00'", "remove"),
    "escape": ("[gpu]\na\x1b[2J ansible_host=192.0.2.1\n", 2, r"control character '\x1b'", "remove"),
    "long range": ("[gpu]\ngpu[1:200000] ansible_connection=local\n", 2, "more than 10000 hosts", "range"),
    "ranges of ranges": ("[gpu]\ngpu[1:999]-[1:999] ansible_connection=local\n", 2, "more than 10000", "range"),
    "endless range": (f"[gpu]\ngpu[1:{'9' * 30}]\n", 2, "no range of hosts", "gpu[01:16]"),
    "range without steps": ("[gpu]\ngpu[1:5:0]\n", 2, "no range of hosts", "gpu[01:16]"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "wrong", "cure"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_has_file_line_and_cure(tmp_path: Path, text: str, line: int, wrong: str, cure: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load_hosts(path)
    assert error.value.message.startswith(f"{path}:{line}: ")
    assert wrong in error.value.message
    assert cure in error.value.cure
    assert "\n" not in error.value.message + error.value.cure


SECRETS = {
    "two values": "[gpu]\na ansible_host=192.0.2.1 KEY=SECRET\n[login]\na KEY=other\n",
    "two values, the other": "[gpu]\na ansible_host=192.0.2.1 KEY=other\n[login]\na KEY=SECRET\n",
    "a blank": "[gpu]\na ansible_host=192.0.2.1 KEY=one SECRET\n",
    "a colon": "[gpu]\na ansible_host=192.0.2.1\n[gpu:vars]\nKEY: SECRET\n",
    "nothing": "[gpu]\na ansible_host=192.0.2.1\n[gpu:vars]\nKEY SECRET\n",
    "blanks": "[gpu]\na ansible_host=192.0.2.1 KEY = SECRET\n",
    "a quotation": "[gpu]\na ansible_host=192.0.2.1 KEY='SECRET\n",
    "no group": "KEY=SECRET\n",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_a_mistake_beside_a_secret_does_not_tell_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as error:
        load_hosts(write(tmp_path, text.replace("KEY", "ansible_become_password").replace("SECRET", "5ecret-M4rk")))
    assert "5ecret" not in error.value.message + error.value.cure, error.value.message


def test_an_inventory_that_is_no_text_is_named_before_ansible_is_asked(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("gpulab.hosts.inventory.subprocess.run", lambda *_, **__: pytest.fail("asked Ansible"))
    for number, raw in enumerate((b"[gpu]\n\xe9\n", "[gpu]\n".encode("utf-16"), b"x" * (5 << 20))):
        path = tmp_path / f"{number}.ini"
        path.write_bytes(raw)
        with pytest.raises(UsageError, match=r"\.ini:(2: not UTF-8|1: it begins with a byte| larger than 4 MiB)"):
            load_hosts(str(path))
    with pytest.raises(UsageError, match="more than 10000 hosts"):
        load_hosts(write(tmp_path, "[gpu]\n" + "".join(f"gpu{n}-[1:4000]\n" for n in range(3))))


def test_a_range_of_sixteen_hosts_and_quoted_values_are_fine(tmp_path) -> None:
    text = "[gpu]\ngpu[01:16] ansible_connection=local\n[gpu:vars]\nmine='a b'\nyours=it's\nhers=\"a\" # note\n"
    hosts = load_hosts(write(tmp_path, text))
    assert [host.name for host in hosts][::15] == ["gpu01", "gpu16"]


def test_an_empty_inventory_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no host in it") as error:
        load_hosts(write(tmp_path, "[gpu]\n"))
    assert "ansible_host=" in error.value.cure


def test_a_missing_inventory_is_cured_by_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UsageError, match=r"no such inventory") as error:
        load_hosts("gpus-that-are-not-there.ini")
    assert error.value.cure.startswith("cp inventory.example gpus-that-are-not-there.ini")


def test_every_variable_of_the_playbooks_may_be_set(tmp_path: Path) -> None:
    variables = "nvidia_driver_batch=2\nmirror=cn\nmine_own=1\nansible_ssh_args=-C\nansible_become_method=sudo\n"
    path = write(tmp_path, f"[gpu]\na ansible_host=192.0.2.1\n[all:vars]\n{variables}")
    assert load_hosts(path)[0].variables["nvidia_driver_batch"] == 2


def test_a_name_server_that_answers_slowly_is_not_waited_for_by_every_host(tmp_path, monkeypatch) -> None:
    """The first unknown name ends it: of a thousand names, those that nobody has begun to ask are left."""
    slow, asked = threading.Event(), []

    def resolves(address: str) -> bool:
        asked.append(address)
        return address != "gpu0" and (slow.wait(0.2) or True)

    monkeypatch.setattr(inventory_lint, "_resolves", resolves)
    with pytest.raises(UsageError, match="gpu0 has no address"):
        load_hosts(write(tmp_path, "[gpu]\n" + "\n".join(f"gpu{n}" for n in range(1000))))
    assert len(asked) < 100


def test_hosts_to_plan_for_need_no_name_server(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(inventory_lint, "_resolves", lambda _: pytest.fail("asked a name server"))
    assert [h.name for h in load_hosts(write(tmp_path, "[gpu]\nnew.cluster.invalid\n"), resolve=False)] == [
        "new.cluster.invalid"
    ]
