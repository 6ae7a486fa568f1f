"""Settings that the other scenarios leave alone: tried where this machine can carry them out, else read in the diff."""

from pathlib import Path
from typing import Any

import yaml

from tests.testbed.conftest import Lab
from tests.testbed.paths import REPO
from tests.testbed.standin import image


def announced(lab: Lab, *arguments: str) -> dict[str, dict[str, str]]:
    """By host and file, what --check --diff says would stand in it."""
    found: dict[str, dict[str, str]] = {}
    for event in lab.converged("--check", "--diff", *arguments).events:
        diffs: Any = event["diffs"]
        found.setdefault(str(event["host"]), {}).update({d.get("before_header", ""): d.get("after") for d in diffs})
    return found


def test_nfs_is_exported_by_the_server_and_mounted_by_the_others(provisioned: Lab) -> None:
    """No kernel here has an NFS client: read, not carried out."""
    storage = ("--tags", "lab_storage", "-e", "lab_storage_kind=nfs", "-e", "lab_storage_server=gpu1")
    found = announced(provisioned, *storage)
    address = provisioned.bed.addresses["gpu1"]
    others = sorted(provisioned.bed.addresses[client] for client in ("gpu2", "cpu1"))
    lines = [f"/srv/gpulab {other}(rw,sync,no_subtree_check)\n" for other in others]
    assert found["gpu1"]["/etc/exports.d/gpu-lab.exports"].partition("\n")[2] == "".join(lines)
    for client in ("gpu2", "cpu1"):
        unit = found[client]["/etc/systemd/system/srv-gpulab.mount"]
        assert f"What={address}:/srv/gpulab\nWhere=/srv/gpulab\nType=nfs\n" in unit


def test_a_pull_through_registry_is_every_engines_mirror(provisioned: Lab) -> None:
    found = announced(provisioned, "--tags", "docker_engine,registry", "-e", "registry_upstream=http://images.example")
    address = f"{provisioned.bed.addresses['cpu1']}:5000"
    assert "proxy:\n  remoteurl: http://images.example\n" in found["cpu1"]["/etc/docker/registry/config.yml"]
    for host in ("gpu1", "gpu2", "cpu1"):
        settings = yaml.safe_load(found[host]["/etc/docker/daemon.json"])
        assert settings["registry-mirrors"] == [f"http://{address}"]


def test_mirror_cn_moves_the_distributions_packages_and_the_hub(provisioned: Lab) -> None:
    mirrors = yaml.safe_load((REPO / "ansible/mirrors/cn.yml").read_text())["mirrors"]
    found = announced(provisioned, "--tags", "base,lab_storage", "-e", "mirror=cn")
    for host, distribution in (("gpu1", "debian"), ("gpu2", "debian"), ("cpu1", "ubuntu")):
        lines = [line for line in found[host]["/etc/apt/sources.list"].splitlines() if line.startswith("deb ")]
        assert lines and all(f" {mirrors['apt']}/{distribution} " in line for line in lines), lines
        assert f"HF_ENDPOINT={mirrors['huggingface']}\n" in found[host]["/etc/gpu-lab.env"]


def test_the_gpus_exporter_and_the_page_are_containers_that_the_checks_watch(provisioned: Lab, tmp_path: Path) -> None:
    """The real images cannot be pulled here: a stand-in answers in their place."""
    bed = provisioned.bed
    wanted = {
        "monitoring_gpu": True, "monitoring_gpu_image": image.EXPORTER, "monitoring_grafana": True,
        "monitoring_grafana_image": image.EXPORTER, "monitoring_host": "gpu1",
    }  # fmt: skip
    inventory = bed.inventory(tmp_path / "gpus.ini", provisioned.variables | wanted)
    verify = ("gpu1", "-k", "test_monitoring", f"--ansible-inventory={inventory}")
    bed.sh("gpu1", image.exporter())
    done = provisioned.provision("--tags", "monitoring", "--limit", "gpu1", inventory=inventory)
    assert done.code == 0, done.output[-3000:]
    outcomes = provisioned.verify(*verify)
    assert outcomes["monitoring.gpu@gpu1"] == outcomes["monitoring.page@gpu1"] == "passed", outcomes
    bed.sh("gpu1", "systemctl disable --now gpu-lab-dcgm-exporter gpu-lab-grafana prometheus")
    outcomes = provisioned.verify(*verify)
    assert outcomes["monitoring.gpu@gpu1"] == outcomes["monitoring.page@gpu1"] == "failed", outcomes
