"""buildx bake's own reading of every stack's definition: nothing is built, no engine is needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from gpulab.common.paths import ROOT
from gpulab.images.build_context import too_old
from gpulab.images.image import Image
from gpulab.stacks.stack import load_stacks


@pytest.fixture(scope="module")
def read() -> Any:
    """What `./inv build ... --dry` prints for all stacks."""
    if not shutil.which("docker") or not shutil.which("dpkg-deb"):
        pytest.skip("needs the docker command and Debian's apt: see tests/testbed/packages.txt")
    from tests.testbed.plugins import docker_config

    env = {k: v for k, v in os.environ.items() if k != "GPULAB_BASE_IMAGE"}
    done = subprocess.run(
        [ROOT / "inv", "build", ",".join(n for n, s in load_stacks().items() if not too_old(s)), "--dry", "--json"],
        env=env | {"DOCKER_CONFIG": str(docker_config())}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["bake"]


@pytest.mark.parametrize("name", load_stacks())
def test_a_stacks_definition_is_whole(read: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPULAB_BASE_IMAGE", raising=False)
    if too_old(load_stacks()[name]):
        pytest.skip("torch's CPU build at hand is for an older Python")
    image = Image(load_stacks()[name])
    target = read[name]["target"][name]
    assert target["tags"] == [image.tag]
    assert target["args"]["PARENT"] == (image.parent.tag if image.parent else "ground")
    assert target["args"]["BASE_IMAGE"].startswith("docker.io/library/python:")
    assert target["labels"]["gpulab.lock"] == image.stack.key
    assert target["labels"]["org.opencontainers.image.vendor"]  # of the common part
