"""`inv build` before anything is built: the lock in parts, the base, what is refused, what is said of a failure."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.paths import DOCKER, ROOT
from gpulab.images import base, build_context
from gpulab.images import build as run
from gpulab.images import build_log as follow
from gpulab.images.build_context import parts
from gpulab.images.image import Image
from gpulab.stacks.lock_parts import entries
from gpulab.stacks.resolver import CUDA_PACKAGE
from gpulab.stacks.stack import load_stack, load_stacks


@pytest.mark.parametrize("name", load_stacks())
def test_the_parts_are_the_whole_lock_less_the_parents(name):
    stack = load_stack(name)
    made = parts(stack)
    torch_alone = stack.pins.torch == "cpu" and not stack.parent
    together = "".join(text for part, text in made.items() if not (torch_alone and part == "torch"))
    whole = set(entries(stack.lock.read_text()))
    assert set(entries(together)) == whole - (set(entries(stack.parent.lock.read_text())) if stack.parent else set())
    assert together.count("--hash=") == sum(
        block.count("--hash=") for name, block in entries(stack.lock.read_text()).items() if name in entries(together)
    )


@pytest.mark.parametrize("name", load_stacks())
def test_cuda_and_what_is_compiled_have_layers_of_their_own(name):
    made = parts(load_stack(name))
    assert not [n for n in entries(made["rest"]) if n == "torch" or CUDA_PACKAGE.match(n)]
    assert set(entries(made["sources"])) <= set(load_stack(name).sources)


def test_a_base_is_asked_for_its_digest_once(tmp_path):
    """Against a docker that answers as buildx does, for no registry can be reached here."""
    answers = tmp_path / "docker"
    digest = "sha256:" + "a" * 64
    answers.write_text(f"#!/bin/sh\necho >> {tmp_path}/asked\necho '{json.dumps({'digest': digest})}'\n")
    answers.chmod(0o755)
    docker = Docker(environment={})
    kept = tmp_path / "bases.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        patch.delenv(base.OWN, raising=False)
        for _ in range(2):
            assert base.base_image("some/python:slim", docker, digests=kept) == f"some/python:slim@{digest}"
    assert (tmp_path / "asked").read_text().count("\n") == 1


def test_a_base_of_ones_own_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv(base.OWN, "registry.local/python")
    assert base.base_image("some/python:slim", Docker(), digests=tmp_path / "none") == "registry.local/python"
    assert base.base_image("some/python:slim", Docker(), "mine", digests=tmp_path / "none") == "mine"


@pytest.mark.parametrize("name", load_stacks())
def test_every_lock_is_of_todays_pins(name):
    run.check_lock(load_stack(name))


def test_a_changed_pin_makes_the_lock_stale(monkeypatch):
    stack = load_stack("cpu")
    run.check_lock(stack)
    monkeypatch.setattr(stack.pins, "pins", [*stack.pins.pins, "more==1.0"])
    del stack.__dict__["asked"]
    with pytest.raises(UsageError, match="stale") as caught:
        run.check_lock(stack)
    assert caught.value.cure == "./inv lock --stack cpu"


def test_a_tag_changes_with_recipe_and_lock_and_a_childs_with_its_parents(monkeypatch, tmp_path):
    for name in ("Dockerfile", "install", "docker-bake.hcl"):
        shutil.copy(DOCKER / name, tmp_path)
    before = {name: Image(load_stack(name)).tag for name in ("vllm", "train", "cpu")}
    monkeypatch.setattr("gpulab.images.image.DOCKER", tmp_path)
    assert {name: Image(load_stack(name)).tag for name in before} == before
    (tmp_path / "install").write_text("another")
    after = {name: Image(load_stack(name)).tag for name in before}
    assert all(after[name] != tag for name, tag in before.items())


@pytest.mark.parametrize(("told", "built"), [("this", []), ("another", ["cpu"]), (None, ["cpu"])])
def test_an_image_without_its_manifest_is_built_again(monkeypatch, tmp_path, told, built):
    """The engine has the image; a build of it that ended before its manifest was written is no build."""
    image = Image(load_stack("cpu"))
    monkeypatch.setattr("gpulab.images.manifest.MANIFESTS", tmp_path)
    if told:
        tag = image.tag if told == "this" else "gpulab/cpu:0"
        (tmp_path / "cpu.json").write_text(json.dumps({"tag": tag}))
    there = subprocess.CompletedProcess([], 0, "{}", "")
    monkeypatch.setattr(Docker, "try_run", lambda *_, **__: there)
    monkeypatch.setattr(run, "check_engine", lambda _: None)
    monkeypatch.setattr(run, "check_disk", lambda *_: None)
    monkeypatch.setattr(run, "bake", lambda image, *_: image.stack.name)
    assert run.build("cpu", base="", dry=False).data["built"] == built


FAILED = """\
#8 0.4 Resolved
------
 > [packages 2/3] RUN install-part /lock/torch.txt:
0.301 Resolved 3 packages
1.201 error: Failed to fetch: `https://index/torch.whl`
1.202   Caused by: dns error
------
ERROR: failed to solve: process "/bin/sh -c install-part" did not complete successfully: exit code: 2
"""


def test_a_failure_that_is_known_is_told_with_its_cure():
    failed = follow.why(FAILED)
    assert failed.message == "the package index cannot be reached"
    assert "UV_DEFAULT_INDEX" in failed.cure


def test_of_another_failure_the_steps_last_words_are_told():
    other = FAILED.replace("error: Failed to fetch: `https://index/torch.whl`", "something").replace("dns error", "odd")
    assert follow.why(other).message.splitlines() == ["Resolved 3 packages", "something", "Caused by: odd"]
    assert follow.why("ERROR: no builder\n").message == "ERROR: no builder"


def inv_build(*words: str, **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [ROOT / "inv", "build", *words], capture_output=True, text=True, env={**os.environ, **env}, check=False
    )
    return done.returncode, done.stderr


def test_an_unknown_stack_is_named_with_the_nearest():
    code, said = inv_build("vlm")
    assert code == 2
    assert "no stack 'vlm'" in said
    assert "vllm" in said


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
def test_an_engine_that_is_not_running_is_named(tmp_path):
    code, said = inv_build("cpu", DOCKER_HOST=f"unix://{tmp_path}/docker.sock")
    assert code == 2
    assert f"no Docker engine answers at unix://{tmp_path}/docker.sock" in said
    assert "cure:" in said


def test_an_engine_of_another_platform_is_refused(tmp_path, monkeypatch):
    """Against a docker that answers as an engine on such a machine does: there is none here."""
    (tmp_path / "docker").write_text("#!/bin/sh\necho linux/arm64\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UsageError, match=r"is linux/arm64, the locks are for linux/amd64") as caught:
        run.check_engine(Docker())
    assert caught.value.cure == "build on such a machine"


def test_only_stacks_without_a_parent_bring_their_own_apt():
    for stack in load_stacks().values():
        assert not (stack.parent and stack.pins.apt)


def test_the_environment_for_a_build_is_shells(tmp_path):
    text = build_context.settings(load_stack("megatron"))
    file = tmp_path / "sources.env"
    file.write_text(text)
    said = subprocess.run(["sh", "-c", f". {file}; echo $NVTE_FRAMEWORK"], capture_output=True, text=True, check=True)
    assert said.stdout == "pytorch\n"


@pytest.mark.parametrize("name", ["Dockerfile", "docker-bake.hcl", "install"])
def test_the_recipe_keeps_the_houses_rules(name):
    text = (DOCKER / name).read_text().replace("127.0.0.1", "")
    assert not re.search(r"^# syntax=", text, re.MULTILINE)
    assert not re.search(r":latest|\b\d+\.\d+\.\d+\b", text), "a version is written"
    if name == "Dockerfile":
        steps = [line for line in text.splitlines() if not line.startswith("#") and "CMD" not in line]
        assert not [line for line in steps if re.search(r";\s|;$", line)], "a step's failure would be passed over"
