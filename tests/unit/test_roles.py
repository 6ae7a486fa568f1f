"""What can be said of the roles without a host."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from gpulab.common.paths import ROOT
from gpulab.hosts import role_docs
from gpulab.hosts.ansible import environment, program

ROLES = sorted(path for path in role_docs.ROLES.iterdir() if path.is_dir())


def test_the_generated_pages_are_up_to_date() -> None:
    stale = [str(path) for path, text in role_docs.pages().items() if not path.exists() or path.read_text() != text]
    assert stale == [], "python -m gpulab.hosts.role_docs makes them anew"


@pytest.mark.parametrize("role", role_docs.documented(), ids=lambda role: role.name)
def test_defaults_are_the_whole_interface(role: Path) -> None:
    options = role_docs.read(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(options) == set(role_docs.read(role / "defaults/main.yml"))
    assert all(name.startswith(f"{role.name}_") for name in options)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_version_but_in_stacks_yml(role: Path) -> None:
    node = yaml.safe_load((ROOT / "docker/stacks.yml").read_text())["node"]
    versions = [node["driver"], node["nvidia_container_toolkit"], *node["docker"].values(), *node["images"].values()]
    text = "".join(path.read_text() for path in role.rglob("*") if path.is_file())
    assert [version for version in versions if version in text] == []


EXPORTS = """\
- hosts: store
  gather_facts: false
  vars_files: [{role}/defaults/main.yml]
  tasks:
    - ansible.builtin.copy: {{content: "{{{{ lookup('template', '{role}/templates/exports.j2') }}}}", dest: "{to}"}}
"""
LINE = "/srv/gpulab {}(rw,sync,no_subtree_check)\n"


@pytest.mark.parametrize(
    ("others", "variables", "clients"),
    [
        ("gpu1\ngpu2 ansible_host=10.0.0.12\n", {}, ["10.0.0.12", "gpu1"]),
        ("gpu1\n", {"lab_storage_clients": "10.0.0.0/24 10.1.0.0/24"}, ["10.0.0.0/24", "10.1.0.0/24"]),
        ("", {}, []),
    ],
    ids=["three hosts", "told", "alone"],
)
def test_the_shared_folder_is_exported_to_the_inventorys_other_hosts(
    tmp_path: Path, others: str, variables: dict[str, str], clients: list[str]
) -> None:
    play, inventory, exports = tmp_path / "play.yml", tmp_path / "gpus.ini", tmp_path / "exports"
    play.write_text(EXPORTS.format(role=role_docs.ROLES / "lab_storage", to=exports))
    inventory.write_text(f"[storage]\nstore ansible_host=10.0.0.1 ansible_connection=local\n[gpu]\n{others}")
    argv = [program("ansible-playbook"), "-i", str(inventory), "-e", json.dumps(variables), str(play)]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert exports.read_text().partition("\n")[2] == "".join(LINE.format(client) for client in clients)


NAMES = """\
- hosts: all
  gather_facts: false
  vars_files: [{role}/vars/main.yml, {role}/vars/Ubuntu.yml]
  tasks:
    - ansible.builtin.copy:
        content: "{{{{ nvidia_driver_packages_by_kind.open }}}} {{{{ nvidia_driver_fabricmanager }}}}"
        dest: "{to}/{{{{ inventory_hostname }}}}"
"""


def test_ubuntus_packages_are_named_as_nvidias_repository_names_them_for_each_branch(tmp_path: Path) -> None:
    """Listings of the repository: a suffix at the driver below 590, at Fabric Manager below 580."""
    wanted = {
        "570.195.03": "nvidia-open-570 nvidia-fabricmanager-570",
        "580.95.05": "nvidia-open-580 nvidia-fabricmanager",
        "590.44.01": "nvidia-open nvidia-fabricmanager",
    }
    hosts = "".join(f"b{v[:3]} ansible_connection=local nvidia_driver_version={v}\n" for v in wanted)
    (tmp_path / "gpus.ini").write_text(hosts)
    (tmp_path / "play.yml").write_text(NAMES.format(role=role_docs.ROLES / "nvidia_driver", to=tmp_path))
    argv = [program("ansible-playbook"), "-i", str(tmp_path / "gpus.ini"), str(tmp_path / "play.yml")]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {v: (tmp_path / f"b{v[:3]}").read_text() for v in wanted} == wanted


IMAGES = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {variables}
  tasks:
    - ansible.builtin.include_role: {{name: monitoring, tasks_from: grafana}}
    - ansible.builtin.include_role: {{name: monitoring, tasks_from: gpu}}
"""


@pytest.mark.parametrize("kept", [True, False])
def test_the_metrics_images_are_those_of_the_kept_digests(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that has an image from a file knows no digest of it."""
    digest = f"sha256:{'a' * 64}"
    pulled, loaded = "registry.example/pulled:1", "registry.example/loaded:1"
    file = tmp_path / "services.json"
    if kept:
        file.write_text(json.dumps({pulled: digest, loaded: digest}))
    (tmp_path / "docker").write_text("#!/bin/sh\ncase $5 in *loaded*) echo '[]' ;; *) echo '[\"x@y\"]' ;; esac\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    told = {
        "image_digests_file": str(file), "monitoring_grafana_image": pulled, "monitoring_gpu_image": loaded,
        "monitoring_address": "127.0.0.1", "monitoring_host": "localhost",
    }  # fmt: skip
    services = yaml.safe_load((ROOT / "ansible/services.yml").read_text())[0]["vars"]
    play = tmp_path / "play.yml"
    play.write_text(IMAGES.format(variables=json.dumps({**services, **told})))
    argv = [program("ansible-playbook"), "-i", "localhost,", "--check", "--diff", str(play)]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    units = done.stdout.splitlines()
    (page,) = [line for line in units if pulled in line]
    (exporter,) = [line for line in units if loaded in line]
    assert page.split()[-1] == (f"{pulled}@{digest}" if kept else pulled), "the dashboard's unit"
    assert exporter.split()[-1] == loaded, "the exporter's unit"
    assert "services.json" not in done.stdout + done.stderr, "a file that is not there yet is no warning"
