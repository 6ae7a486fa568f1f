"""The role docker_engine: configured for long GPU jobs."""

import json
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.check import check
from tests.hosts.conftest import dpkg, stays


@check("docker_engine.runs")
def test_it_runs_now_and_after_a_boot(host: Host) -> None:
    assert stays(host, "docker") == ""
    answer = host.run("docker info")
    assert answer.rc == 0, f"the engine does not answer: {answer.stderr.strip()}"


@check("docker_engine.version")
def test_the_pinned_version_is_installed_and_held(host: Host, variables: dict[str, Any], node: dict[str, Any]) -> None:
    if variables["docker_engine_source"] != "docker":
        pytest.skip("the engine is the distribution's (docker_engine_source)")
    version = variables.get("docker_engine_version", node["docker"]["engine"])
    found = dpkg(host, ["docker-ce", "docker-ce-cli", "containerd.io"])
    assert found.get("docker-ce", ("absent", False))[0].startswith(f"5:{version}-")
    assert all(held for _, held in found.values()), f"not on hold: {found}"


@check("docker_engine.live-restore")
def test_containers_survive_a_restart_of_the_engine(docker_info: dict[str, Any]) -> None:
    assert docker_info["LiveRestoreEnabled"]


@check("docker_engine.cgroups")
def test_systemd_keeps_the_cgroups(docker_info: dict[str, Any]) -> None:
    assert docker_info["CgroupDriver"] == "systemd"


@check("docker_engine.logs")
def test_logs_cannot_fill_the_disk(host: Host, docker_info: dict[str, Any]) -> None:
    assert docker_info["LoggingDriver"] == "json-file"
    options = json.loads(host.run("cat /etc/docker/daemon.json").stdout)["log-opts"]
    assert options["max-size"] and int(options["max-file"]) > 0


@check("docker_engine.storage")
def test_images_are_kept_on_the_promised_disk(docker_info: dict[str, Any], variables: dict[str, Any]) -> None:
    assert docker_info["Driver"] == "overlay2"
    assert docker_info["DockerRootDir"] == variables["docker_engine_data_root"]


@check("docker_engine.gpu")
def test_the_engine_hands_out_gpus(host: Host, gpus: list[str], docker_info: dict[str, Any]) -> None:
    assert "nvidia" in docker_info["Runtimes"]
    assert json.loads(host.run("cat /etc/docker/daemon.json").stdout)["features"]["cdi"] is True


@check("docker_engine.users")
def test_the_lab_user_and_the_login_may_use_the_engine(host: Host, variables: dict[str, Any]) -> None:
    login = host.run("echo $SUDO_USER").stdout.strip() if variables["docker_engine_login"] else ""
    users = {variables["base_user"], login} - {"", "root"}
    assert [user for user in sorted(users) if "docker" not in host.run(f"id -nG {user}").stdout.split()] == []
