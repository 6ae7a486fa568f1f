"""`inv serve` on hosts for real: a server of ms-swift in a container on each of two, nginx in front, ssh as the way."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gpulab.common.docker import RUN
from gpulab.common.paths import ROOT
from gpulab.inside import ready
from gpulab.plan.service_file import KEY
from tests.testbed import engine, nginx
from tests.testbed.on_nodes import Nodes
from tests.testbed.plugins import docker_config
from tests.testbed.stack_images import built
from tests.wait import wait_until

MODEL = "Qwen3-0.6B"


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """A tiny model on this machine alone."""
    user = f"{os.getuid()}:{os.getgid()}"
    engine.docker(
        "run", "--rm", "--network", "none", "--user", user, "-v", f"{ROOT}/gpulab:/gpulab:ro", "-v",
        f"{tmp_path}:/made", built("cpu"), "python", "/gpulab/inside/twins", "qwen3", f"/made/{MODEL}",
    )  # fmt: skip
    return tmp_path / MODEL


def containers(nodes: Nodes, host: str) -> dict[str, dict[str, Any]]:
    """The service's containers on a host by their compose service."""
    ids = nodes.bed.sh(host, f"docker ps -aq --filter label={RUN}").split()
    told = json.loads(nodes.bed.sh(host, f"docker inspect {' '.join(ids)}")) if ids else []
    return {one["Config"]["Labels"].get("com.docker.compose.service", "claim"): one for one in told}


def test_a_model_on_two_hosts_goes_on_when_one_server_is_killed(
    nodes: Nodes, twin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, key = tmp_path / "runs", "a-key-of-the-tests"
    for name, value in {
        KEY: key, "DOCKER_CONFIG": str(docker_config()), "GPULAB_IMAGE_NGINX": nginx.give(nodes.bed, "gpu1"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    def inv(*words: str) -> tuple[int, dict[str, Any]]:
        process = nodes.inv(runs, *words, "--json")
        said = process.communicate(timeout=400)[0]
        return process.returncode, json.loads(said[said.index('{"') :])

    hosts = ("--hosts", str(nodes.inventory), "--replicas", "2")
    code, made = inv("serve", str(twin), *hosts, "--name", "tiny", "--set", "max_new_tokens=4")
    assert (code, made["failures"]) == (0, []), made
    try:
        assert made["hosts"] == ["gpu1", "gpu2"] and made["url"].startswith("http://127.0.0.1:")
        first, second = containers(nodes, "gpu1"), containers(nodes, "gpu2")
        assert (set(first), set(second)) == ({"server-1", "front"}, {"server-2"})
        for one in (*first.values(), *second.values()):
            assert one["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        assert ready.answers(made["url"], "tiny", 60), "the key goes through nginx"
        with pytest.MonkeyPatch.context() as stranger:
            stranger.delenv(KEY)
            assert not ready.answers(made["url"], "tiny")

        nodes.bed.sh("gpu2", f"kill -9 {second['server-2']['State']['Pid']}")
        assert all(ready.answers(made["url"], "tiny", 60) for _ in range(3)), "the other one goes on"
        wait_until(
            lambda: (
                (server := containers(nodes, "gpu2")["server-2"])["RestartCount"] == 1 and server["State"]["Running"]
            ),
            "it comes back",
            every=0.5,
        )
        code, listed = inv("served")
        assert (code, listed["services"][0]["state"]) == (0, "ready"), listed
    finally:
        code, stopped = inv("stop", "tiny")
    assert (code, stopped["stopped"]) == (0, {"tiny": 3}), stopped
    assert nodes.containers() == "" and inv("served")[1]["services"] == []
    assert nodes.bed.sh("gpu1", "ls -A /srv/gpulab/runs/.services", check=False) == ""
