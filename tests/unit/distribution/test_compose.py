"""compose/: what `docker compose` makes of it, profile by profile."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpulab.common.docker import Docker
from gpulab.common.paths import COMPOSE, ROOT, STACKS_YML
from gpulab.common.service_images import service_image
from gpulab.images import compose
from gpulab.images.image import Image
from gpulab.inside.ready import answers
from gpulab.lab.flags import unknown
from gpulab.stacks.stack import load_stack, load_stacks
from tests.testbed.plugins import docker_config

SERVERS = {"serve": "vllm", "serve-sglang": "sglang", "serve-lmdeploy": "lmdeploy", "serve-swift": "swift"}
PROFILES = {
    **{profile: {service} for profile, service in SERVERS.items()},
    "ui": {"web-ui"}, "chat": {"app"}, "monitoring": {"prometheus", "node-exporter", "dcgm-exporter", "grafana"},
    "boards": {"tensorboard", "swanlab"},
}  # fmt: skip


@pytest.fixture(scope="session")
def plugins() -> str:
    """The folder of docker's plugins."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return os.environ.get("DOCKER_CONFIG", "")
    if not shutil.which("docker") or os.geteuid() != 0:
        pytest.skip("docker compose is not here, and fetching it needs Debian's apt and root")
    return str(docker_config())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugins: str) -> Iterator[Path]:
    """A copy of compose/ with its .env, caches and runs of the test's own."""
    folder = tmp_path / "compose"
    shutil.copytree(COMPOSE, folder, ignore=shutil.ignore_patterns(".env"))
    for name in [name for name in os.environ if name.startswith("GPULAB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(compose, "COMPOSE", folder)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("GPULAB_RUNS", str(tmp_path / "runs"))
    if plugins:
        monkeypatch.setenv("DOCKER_CONFIG", plugins)
    compose.write_env()
    monkeypatch.delenv("GPULAB_RUNS")
    yield folder


def config(folder: Path, *words: str) -> dict[str, Any]:
    """The project as docker compose understands it."""
    done = run(folder, *words, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", "compose", *words], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_its_services_with_images_from_stacks_yml(project: Path, profile: str):
    services = config(project, "--profile", profile)
    assert set(services) == PROFILES[profile]
    named = {Image(stack).tag for stack in load_stacks().values() if stack.lock.is_file()}
    named |= set(yaml.safe_load(STACKS_YML.read_text())["node"]["images"].values())
    assert {service["image"] for service in services.values()} <= named


@pytest.mark.parametrize("profile", PROFILES)
def test_a_service_is_watched_restarted_and_reached_from_this_machine_only(project: Path, profile: str):
    for name, service in config(project, "--profile", profile).items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
        listens = " ".join(service.get("command") or [])
        if service.get("network_mode") == "host" and name != "grafana":
            assert re.search(r"--web\.listen-address=127\.0\.0\.1:\d+", listens), name
        assert not service.get("privileged"), name


@pytest.mark.parametrize("profile", [*SERVERS, "ui", "chat"])
def test_our_images_run_as_the_caller_with_the_callers_caches(project: Path, profile: str):
    for service in config(project, "--profile", profile).values():
        assert service["user"] == f"{os.getuid()}:{os.getgid()}"
        assert service["cap_drop"] == ["ALL"]
        mounts = {volume["target"]: volume["source"] for volume in service["volumes"]}
        assert mounts["/cache/modelscope"] == str(project.parent / "modelscope")
        assert Path(mounts["/runs"]).is_dir()  # docker would make a missing one root's


@pytest.mark.parametrize(("profile", "service"), SERVERS.items())
def test_a_server_gets_gpus_and_is_well_when_it_completes_a_chat_under_the_name_it_serves(project, profile, service):
    (project / ".env").write_text((project / ".env").read_text() + "GPULAB_MODEL=Org/Model-7B\nGPULAB_ARGS=--one 1\n")
    found = config(project, "--profile", profile)[service]
    (device,) = found["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert found["command"][-2:] == ["--one", "1"]
    assert re.search(r"--(served[-_])?model[-_]name Org/Model-7B ", " ".join(found["command"]))
    assert "Org/Model-7B" in found["healthcheck"]["test"]


def test_the_boards_see_the_runs_and_tensorboard_changes_nothing_there(project: Path):
    services = config(project, "--profile", "boards")
    for name, service in services.items():
        (mount,) = service["volumes"]
        assert (mount["source"], mount["target"]) == (str(project.parent / "runs"), "/runs"), name
        assert service["user"] == f"{os.getuid()}:{os.getgid()}"
        assert mount.get("read_only", False) is (name == "tensorboard")
        (port,) = service["ports"]
        assert str(port["target"]) in service["healthcheck"]["test"][-1], name


@pytest.mark.parametrize(
    "file", sorted((ROOT / ".devcontainer").glob("*/devcontainer.json")), ids=lambda f: f.parent.name
)
def test_an_editor_opens_a_stacks_image_with_this_folder_under_its_own_path(project: Path, file: Path):
    opened = json.loads(file.read_text())
    name = file.parent.name
    assert (file.parent / opened["dockerComposeFile"]).resolve() == COMPOSE / "work.yml"
    assert opened["runServices"] == [opened["service"]], "the others' images need not be there"
    service = config(project, "-f", "work.yml")[opened["service"]]
    assert service["image"] == Image(load_stack(name)).tag
    assert service["user"] == f"{os.getuid()}:{os.getgid()}"
    assert bool(service.get("deploy")) is (load_stack(name).pins.torch == "cuda")
    assert str(ROOT) in [volume["target"] for volume in service["volumes"]]
    before = opened["initializeCommand"]
    assert "./inv images --env" in before and f"$GPULAB_IMAGE_{name.upper()} " in before
    assert before.split("./inv build ")[1].split(";")[0] == name


def test_a_port_beyond_this_machine_needs_a_key(project: Path, monkeypatch: pytest.MonkeyPatch):
    public = ("-f", "compose.yml", "-f", "public.yml", "--profile", "serve")
    refused = run(project, *public, "config")
    assert refused.returncode != 0
    assert "needs a key" in refused.stderr
    monkeypatch.setenv("GPULAB_API_KEY", "secret")
    service = config(project, *public)["vllm"]
    assert "127.0.0.1" not in [port["host_ip"] for port in service["ports"]]
    assert service["environment"]["VLLM_API_KEY"] == "secret"
    assert "secret" not in json.dumps(service["command"])  # nor in ps


def test_without_a_gpu_swift_serves_in_the_cpu_stack(project: Path):
    service = config(project, "-f", "compose.yml", "-f", "cpu.yml", "--profile", "serve-swift")["swift"]
    assert service["image"] == Image(load_stack("cpu")).tag
    assert not service.get("deploy")
    assert "transformers" in service["command"]


def test_without_its_env_the_project_says_what_writes_it(project: Path):
    (project / ".env").unlink()
    done = run(project, "--profile", "serve", "config")
    assert done.returncode != 0
    assert "./inv images --env" in done.stderr


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the file has stands for the images that the engine pulled: a `docker` says it as Docker does."""
    told = tmp_path / "told"
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ -f {told} ] || {{ echo "No such image: $5" >&2; exit 1; }}\ncat {told}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return told


def test_a_services_image_is_the_one_that_was_pulled_first_and_no_other(engine: Path, tmp_path: Path):
    name, file = "docker.io/grafana/grafana:12.2.1", tmp_path / "services.json"
    first, other = (f"sha256:{letter * 64}" for letter in "ab")
    assert service_image(name, Docker(), file) == name, "nothing was pulled yet"
    for digest in (first, other):
        engine.write_text(json.dumps([f"grafana/grafana@{digest}"]))
        assert service_image(name, Docker(), file) == f"{name}@{first}", "an engine refuses another"
    engine.unlink()
    assert service_image(name, Docker(), file) == f"{name}@{first}", "on a machine that has not pulled it"
    engine.write_text("[]")
    assert service_image(name, Docker(), file) == name, "it came in a file"
    assert service_image(f"{name}@{other}", Docker(), file) == f"{name}@{other}", "as docker/stacks.yml has it"


def test_images_have_names_that_a_shell_takes():
    assert [name for name in compose.images() if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name)] == []


def test_no_image_is_named_in_the_files():
    for path in COMPOSE.glob("*.yml"):
        for line in re.findall(r"^\s*image:\s*(.*)$", path.read_text(), re.MULTILINE):
            assert line.startswith("${GPULAB_IMAGE_"), f"{path.name}: {line}"


@pytest.mark.parametrize(("profile", "service"), [("serve-swift", "swift"), ("ui", "web-ui"), ("chat", "app")])
def test_ms_swift_knows_every_flag(project: Path, profile: str, service: str):
    command = config(project, "--profile", profile)[service]["command"]
    assert [word for word in command if word.startswith("--") and unknown(command, word[2:])] == []


def test_what_is_mounted_is_there(project: Path):
    for name, service in config(project, *(w for p in PROFILES for w in ("--profile", p))).items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                source = Path(volume["source"])
                own = ROOT / source.relative_to(project.parent) if source.is_relative_to(project.parent) else source
                assert source.exists() or own.exists(), f"{name}: {volume['source']}"


@pytest.mark.parametrize(("given", "ready"), [("right", True), ("wrong", False), ("", False)])
def test_the_healthcheck_shows_its_key(monkeypatch: pytest.MonkeyPatch, given: str, ready: bool):
    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200 if self.headers.get("Authorization") == "Bearer right" else 401)
            self.end_headers()
            self.wfile.write(b'{"choices": [{}]}')

    monkeypatch.setenv("GPULAB_API_KEY", given)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            assert answers(f"http://127.0.0.1:{server.server_port}/v1", "any") is ready
        finally:
            server.shutdown()
