"""gpulab/hosts/inventory_cache.py: Ansible is asked once for the same files, and again when one of them changes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from gpulab.hosts import inventory_cache
from gpulab.hosts.inventory import ansible_inventory, load_hosts

ONE = "[gpu]\na ansible_host=192.0.2.1\n"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often Ansible was started, with no answers kept at first."""
    started: list[str] = []
    real = subprocess.run

    def run(argv: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        started.append(Path(argv[0]).name)
        return real(argv, **how)

    monkeypatch.setattr(inventory_cache, "FOLDER", tmp_path / "kept")
    monkeypatch.setattr("gpulab.hosts.inventory.subprocess.run", run)
    return started


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "here" / "gpus.ini"
    path.parent.mkdir()
    path.write_text(ONE)
    return path


def port(path: Path) -> int:
    return load_hosts(str(path))[0].port


def test_the_same_files_are_asked_for_once(asked: list[str], inventory: Path) -> None:
    assert load_hosts(str(inventory)) == load_hosts(str(inventory))
    assert asked == ["ansible-inventory"]


def test_whatever_changes_is_seen(asked: list[str], inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert port(inventory) == 22
    beside = inventory.parent / "group_vars" / "gpu.yml"
    beside.parent.mkdir()
    beside.write_text("ansible_port: 2201")
    assert port(inventory) == 2201, "a file that was not there"
    beside.write_text("ansible_port: 2202")
    assert port(inventory) == 2202, "its contents, of the same length"
    beside.rename(beside.with_name("storage.yml"))
    assert port(inventory) == 22, "the group that it is for"
    inventory.write_text(ONE + "[storage:children]\ngpu\n")
    assert port(inventory) == 2202, "the inventory itself"
    monkeypatch.setenv("ANSIBLE_HOST_PATTERN_MISMATCH", "ignore")
    assert port(inventory) == 2202
    assert len(asked) == 6, "a setting of Ansible's own may change all"


@pytest.mark.parametrize(
    "beside",
    ["ansible_become_password: x9", "registry: {docker_password: x9}", "key: !vault |\n  $ANSIBLE_VAULT;1.1;AES256"],
    ids=["password", "deep", "vault"],
)
def test_no_secret_is_written_down(asked: list[str], inventory: Path, beside: str) -> None:
    (inventory.parent / "host_vars").mkdir()
    (inventory.parent / "host_vars" / "a.yml").write_text(beside + "\n")
    for _ in range(2):
        ansible_inventory(inventory)
    assert asked == ["ansible-inventory"] * 2
    assert not list(inventory_cache.FOLDER.glob("*"))


def test_what_is_kept_is_for_its_owner_alone_and_no_more_than_some(
    asked: list[str], inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory_cache, "AT_MOST", 1)
    port(inventory)
    inventory.write_text(ONE + "# another\n")
    port(inventory)
    (left,) = inventory_cache.FOLDER.iterdir()
    assert left.stat().st_mode & 0o777 == 0o600


def test_a_torn_answer_is_asked_for_again(asked: list[str], inventory: Path) -> None:
    port(inventory)
    (kept,) = inventory_cache.FOLDER.iterdir()
    kept.write_text("{")
    assert port(inventory) == 22
    assert len(asked) == 2
