"""A service of compose/ for real: ms-swift's server in the cpu stack's image, with a tiny twin for a model."""

import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpulab.common.paths import ROOT
from gpulab.images import compose
from tests.testbed import engine
from tests.testbed.paths import SOCKET
from tests.testbed.plugins import docker_config
from tests.testbed.stack_images import built

NAME = "Qwen3-0.6B"


@dataclass
class Project:
    """The services of a folder's compose.yml on the testbed's engine."""

    folder: Path
    environment: dict[str, str]

    def compose(self, *words: str) -> str:
        files = ("-f", "compose.yml", "-f", "cpu.yml", "--profile", "serve-swift")
        done = subprocess.run(
            ["docker", "compose", *files, *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + self.logs()
        return done.stdout

    def logs(self) -> str:
        return engine.docker("logs", "--tail", "40", "gpulab-swift-1", check=False).stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    image = built("cpu")
    tmp = tmp_path_factory.mktemp("project")
    (tmp / "gpulab/inside").mkdir(parents=True)
    shutil.copy(ROOT / "gpulab/inside/ready.py", tmp / "gpulab/inside")  # mounted from beside compose/
    shutil.copytree(ROOT / "compose", tmp / "compose", ignore=shutil.ignore_patterns(".env"))
    (tmp / "runs").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "COMPOSE", tmp / "compose")
        for variable, folder in (("MODELSCOPE_CACHE", "modelscope"), ("HF_HOME", "hf"), ("GPULAB_RUNS", "runs")):
            patch.setenv(variable, str(tmp / folder))
        compose.write_env()
    user = f"{os.getuid()}:{os.getgid()}"
    engine.docker(
        "run", "--rm", "--network", "none", "--user", user,
        "-v", f"{ROOT}/gpulab:/gpulab:ro", "-v", f"{tmp}/runs:/runs", image,
        "python", "/gpulab/inside/twins", "qwen3", f"/runs/{NAME}",
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "GPULAB_MODEL": f"/runs/{NAME}", "GPULAB_NAME": NAME, "GPULAB_PORT": str(port),
        "GPULAB_ARGS": "--torch_dtype float32",
        "DOCKER_HOST": f"unix://{SOCKET}", "DOCKER_CONFIG": str(docker_config()),
    }  # fmt: skip
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GPULAB_")}
    made = Project(tmp / "compose", clean | settings)
    yield made
    made.compose("down", "--timeout", "5")


def complete(project: Project) -> dict[str, Any]:
    body = {"model": NAME, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    request = urllib.request.Request(
        f"http://127.0.0.1:{project.environment['GPULAB_PORT']}/v1/chat/completions",
        json.dumps(body).encode(), {"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_up_waits_until_the_model_answers(project: Project) -> None:
    project.compose("up", "--detach", "--wait")
    assert complete(project)["usage"]["completion_tokens"] > 0
    (state,) = [json.loads(line) for line in project.compose("ps", "--format", "json").splitlines()]
    assert (state["Service"], state["Health"]) == ("swift", "healthy")


def test_it_runs_as_the_caller_on_the_loopback_only(project: Project) -> None:
    assert project.compose("exec", "-T", "swift", "id", "-u").strip() == str(os.getuid())
    (port,) = engine.docker("port", "gpulab-swift-1").stdout.splitlines()
    assert port.endswith(f"-> 127.0.0.1:{project.environment['GPULAB_PORT']}")


def test_a_server_that_completes_nothing_is_not_well(project: Project) -> None:
    """The same check with a name that the server does not serve: it answers, and completes nothing."""
    words = engine.docker("inspect", "--format", "{{json .Config.Healthcheck.Test}}", "gpulab-swift-1").stdout
    check = json.loads(words)[1:]
    assert engine.docker("exec", "gpulab-swift-1", *check, check=False).returncode == 0
    wrong = ["Another" if word == NAME else word for word in check]
    assert engine.docker("exec", "gpulab-swift-1", *wrong, check=False).returncode == 1


def test_down_leaves_nothing(project: Project) -> None:
    project.compose("down", "--timeout", "5")
    assert engine.docker("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=gpulab").stdout == ""
    with pytest.raises(urllib.error.URLError):
        complete(project)
