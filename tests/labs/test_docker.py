"""Labs in the stack's image, by the docker engine: the same plan, proofs and record as in its venv."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable

import pytest

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.engines.docker import DockerBackend
from gpulab.images.image import Image
from gpulab.stacks.stack import load_stack
from tests.labs.conftest import ROOT
from tests.runs import start
from tests.testbed.engine import lacking

pytestmark = pytest.mark.rehearsal


@pytest.fixture(scope="module")
def engine() -> dict[str, str]:
    """The environment of the testbed's engine, which has the cpu stack's image."""
    if reason := lacking("building images needs"):
        pytest.skip(reason)
    from tests.testbed.stack_images import built, environment

    built("cpu")
    return environment()


@pytest.fixture
def docker(engine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """docker(words...): its output, of the engine that the labs of this test use, too."""
    for name in ("DOCKER_HOST", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, engine[name])
    return lambda *words: subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def left(docker: Callable[..., str]) -> list[str]:
    """Containers and networks of runs."""
    label = ("--quiet", "--filter", "label=gpulab.run")
    return [*docker("ps", "--all", *label).split(), *docker("network", "ls", *label).split()]


def test_the_quickstart_in_containers_is_the_quickstart(lab, docker):
    run = lab("quickstart", "--engine", "docker", "--json")
    code, out, err = run.finish(900)
    assert code == 0, out + err[-2000:]
    record = run.record
    assert record["engine"] == "docker"
    image = record["stack"]["image"]
    assert image["id"] == docker("image", "inspect", "--format", "{{.Id}}", image["tag"]).strip()
    assert all(proof["holds"] for step in record["steps"] for proof in step.get("proofs", []))
    assert record["metrics"]["before"]["exact_match"] < record["metrics"]["after"]["exact_match"] == 1
    assert record["peaks"]["train"]["rss_mib"] > 100, "what a container uses is sampled"
    assert run.folder.joinpath("train/last-checkpoint/adapter_model.safetensors").stat().st_uid == os.getuid()
    assert not left(docker)


def test_ray_trains_over_two_nodes_that_have_an_address_each(lab, docker):
    run = lab("multi-node", "--engine", "docker", "--only", "ray", "--json")
    code, out, err = run.finish(600)
    assert code == 0, out + err[-2000:]
    evidence = {p["proof"]: p["evidence"] for p in next(s for s in run.record["steps"] if s["step"] == "ray")["proofs"]}
    assert evidence["every rank took part"] == "2 ranks on 2 nodes over gloo"
    assert "same weights on 2 ranks" in evidence["ranks hold the same weights"]
    hosts = {json.loads(f.read_text())["host"] for f in run.folder.glob("ray/ranks/*.json")}
    assert len(hosts) == 2, "a rank in each container"
    assert not left(docker)


def test_ctrl_c_while_serving_in_containers(lab, docker):
    run = lab("quickstart", "--engine", "docker")
    run.wait_until(lambda: run.state("before") == "running", "the model is served", 240)
    run.process.send_signal(signal.SIGINT)
    code, _, err = run.finish(300)
    assert code == 130, err
    assert (run.record["state"], run.state("before")) == ("interrupted", "interrupted")
    assert not left(docker)


def test_after_a_kill_9_the_next_inv_removes_the_containers(lab, docker):
    run = lab("tuners", "--engine", "docker", "--set", "lora.num_train_epochs=500")
    running = ("ps", "--quiet", "--filter", "label=gpulab.run")
    run.wait_until(lambda: run.state("lora") == "running" and docker(*running), "lora runs", 240)
    run.process.kill()
    run.finish()
    assert left(docker)
    env = {**os.environ, "GPULAB_RUNS": str(run.runs)}
    done = subprocess.run([ROOT / "inv", "runs"], env=env, capture_output=True, text=True, check=True)
    assert "its inv was killed" in done.stdout
    assert run.record["state"] == "killed"
    assert not left(docker)


def test_an_engine_that_is_not_there_is_one_line(tmp_path):
    env = {**os.environ, "GPULAB_RUNS": str(tmp_path), "DOCKER_HOST": "unix:///no/such/docker.sock"}
    done = subprocess.run(
        [ROOT / "inv", "lab", "quickstart", "--engine", "docker", "--json"], env=env, capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    assert (done.returncode, len(told["failures"])) == (2, 1)
    assert "no Docker engine answers at unix:///no/such/docker.sock" in told["failures"][0]
    assert told["cure"]
    assert not list(tmp_path.glob("*/*")), "nothing half done"


UNBUILT = """\
title: A lab of a stack whose image no test builds
upstream: examples/none
curriculum: none
stack: flash
needs: {}
steps:
  go:
    run: swift sft
rehearse: {}
"""


def test_an_image_that_is_not_there_is_one_line_that_says_how_to_get_it(tmp_path, docker):
    """Of a stack of its own: others use the images that are there, at the same time."""
    folder = tmp_path / "labs/start/unbuilt"
    folder.mkdir(parents=True)
    folder.joinpath("lab.yaml").write_text(UNBUILT)
    words = ("lab", "unbuilt", "--engine", "docker", "--json")
    run = start(tmp_path / "labs", tmp_path / "runs", *words, stderr=subprocess.PIPE)
    told = json.loads(run.communicate(timeout=300)[0])
    assert run.returncode == 2
    assert f"has no image {Image(load_stack('flash')).tag}" in told["failures"][0]
    assert "./inv build flash" in told["cure"]
    assert not list(tmp_path.glob("runs/*/*")), "nothing half done"


def foreign_image(tag: str) -> bytes:
    """What `docker save` would write of an empty image for another platform."""
    layer = io.BytesIO()
    tarfile.open(fileobj=layer, mode="w").close()
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {"architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps({**config, "config": {}}), "manifest.json": json.dumps(manifest)}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in {**{n: text.encode() for n, text in files.items()}, "layer.tar": layer.getvalue()}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def test_an_image_for_another_platform_is_refused(docker, monkeypatch):
    tag = "test/other-platform:1"
    subprocess.run(["docker", "load"], input=foreign_image(tag), capture_output=True, check=True)
    monkeypatch.setattr(Image, "tag", tag)
    with pytest.raises(UsageError, match=r"is for aarch64, unix://.* is x86_64"):
        DockerBackend(load_stack("cpu"), Docker()).prepare()
    docker("rmi", tag)


def test_an_unknown_engine_is_wrong_usage(tmp_path):
    done = subprocess.run(
        [ROOT / "inv", "lab", "quickstart", "--engine", "dockr"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "did you mean docker?" in done.stderr
