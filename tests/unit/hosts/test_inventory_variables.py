"""gpulab/hosts/inventory_variables.py: every mistake in an inventory's variables at once, with file and line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from gpulab.common.errors import UsageError
from gpulab.hosts import role_docs
from gpulab.hosts.ansible import environment, program
from gpulab.hosts.inventory import load_hosts

HOSTS = "[gpu]\na ansible_host=192.0.2.1\nb ansible_host=192.0.2.2\n"


def written(tmp_path: Path, ini: str = "", **beside: str) -> str:
    """An inventory with lines of [all:vars], and files of group_vars by name."""
    (tmp_path / "group_vars").mkdir(exist_ok=True)
    for name, text in beside.items():
        (tmp_path / "group_vars" / f"{name}.yml").write_text(text)
    path = tmp_path / "gpus.ini"
    path.write_text(f"{HOSTS}[all:vars]\n{ini}")
    return str(path)


def told(inventory: str) -> list[tuple[str, str]]:
    with pytest.raises(UsageError) as caught:
        load_hosts(inventory)
    return [(failure.message, failure.cure) for failure in caught.value.failures]


def test_all_mistakes_are_told_at_once_each_with_its_file_and_line(tmp_path: Path) -> None:
    inventory = written(
        tmp_path, "mirorr=cn\ndocker_vesion=28\nbase_gid=many\n",
        all="---\nnvidia_driver_reboot: perhaps\ndocker_engine_mirrors: http://one\n",
        gpu="gpu: sometimes\n\nfabric_nccl: [1]\n",
    )  # fmt: skip
    folder = tmp_path / "group_vars"
    found = told(inventory)
    places = sorted(message.rpartition(": ")[0] for message, _ in found)
    assert places == sorted(
        [f"{inventory}:{n}" for n in (5, 6, 7)]
        + [f"{folder}/all.yml:{n}" for n in (2, 3)]
        + [f"{folder}/gpu.yml:{n}" for n in (1, 3)]
    )
    cures = {message.rpartition(": ")[2]: cure for message, cure in found}
    assert cures["no variable mirorr"] == "did you mean mirror?"
    assert cures["no variable docker_vesion"] == "did you mean docker_engine_version?"
    assert "base_gid=4" in cures["base_gid='many' is no whole number"]
    assert "required" in next(message for message, _ in found if "gpu='sometimes'" in message)


@pytest.mark.parametrize(
    "text",
    [
        "base_gid: 2001", "base_gid: '2001'", "nvidia_driver_reboot: yes", "nvidia_driver_reboot: 'True'",
        "nvidia_driver_version: 580.95", "docker_engine_mirrors: ['http://one']", "docker_engine_mirrors: '{{ mine }}'",
        "base_limits: {memlock: 1}", "my_own_thing: [1]", "lab_name: ours", "gpu: none", "gpu_driver_note: x",
    ],
)  # fmt: skip
def test_what_ansible_could_use_is_left_alone(tmp_path: Path, text: str) -> None:
    assert len(load_hosts(written(tmp_path, all=f"mine: [x]\n{text}\n"))) == 2


def test_every_default_of_the_roles_has_its_own_type(tmp_path: Path) -> None:
    """Whoever copies a default into the inventory is not refused."""
    defaults: dict[str, object] = {}
    for role in role_docs.documented():
        defaults |= {k: v for k, v in (role_docs.read(role / "defaults/main.yml")).items() if v is not None}
    assert len(load_hosts(written(tmp_path, all=yaml.safe_dump(defaults)))) == 2


@pytest.mark.parametrize("text", ["base_gid: [1\n", "base_gid: 1\n  base_uid: 2\n", "a: b: c\n"])
def test_broken_yaml_names_its_own_file_and_line(tmp_path: Path, text: str) -> None:
    ((message, _),) = told(written(tmp_path, gpu=f"---\nmine: 1\n{text}"))
    assert message.startswith(f"{tmp_path}/group_vars/gpu.yml:")


def test_secrets_in_a_vault_are_used_and_without_the_password_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/inventory-secrets.md, with the real ansible-vault: a whole file, and one value in a plain file."""
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)
    secret = tmp_path / "vault-password"
    secret.write_text("of the vault\n")
    inventory = written(tmp_path, all="mine: 1\n")
    folder = tmp_path / "group_vars" / "gpu"
    folder.mkdir()
    (folder / "secrets.yml").write_text("ansible_user: sealed-user\nbase_gid: many\n")

    def vault(*words: str) -> str:
        env = environment() | {"ANSIBLE_VAULT_PASSWORD_FILE": str(secret)}
        argv = [program("ansible-vault"), *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout

    vault("encrypt", str(folder / "secrets.yml"))
    ((message, cure),) = told(inventory)
    assert "password for them is not known" in message
    assert "ANSIBLE_VAULT_PASSWORD_FILE" in cure

    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(secret))
    ((message, _),) = told(inventory)
    assert message.endswith("base_gid='many' is no whole number"), "what is sealed is checked, too"
    (folder / "secrets.yml").write_text(vault("encrypt_string", "sealed-user", "--name", "ansible_user"))
    assert load_hosts(inventory)[0].name == "a"
    (folder / "secrets.yml").write_text("ansible_user: sealed-user\n")
    vault("encrypt", str(folder / "secrets.yml"))
    assert load_hosts(inventory)[0].user == "sealed-user"

    secret.write_text("another\n")
    ((message, _),) = told(inventory)
    assert "sealed with another password" in message
