"""plan.sh of a checkout in a folder that is hard to quote: each word arrives as it is planned, nothing else runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.lab.lab import load_lab

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "空 格's $(touch seen)"
LAB = """\
title: It's "hard" $(touch seen) `touch seen`
upstream: examples/none
curriculum: none
stack: cpu
model: Org/Tiny-1B
needs: {gpus: 1, vram_gib: 8}
steps:
  serve:
    run: swift deploy --model {model} --port {port}
    ready: {chat: base}
  train:
    run: swift sft train.yaml --model {model} --system 'a "b" $(touch seen)' --model_author ''
    env: {QUOTE: "it's $(touch seen)"}
  nodes:
    run: swift sft train.yaml --model {model} --system "$(touch seen) {serve.url}"
    spread: true
rehearse:
  train: {impossible: "$(touch seen)"}
"""
# The copy plans for each engine, as `inv lab --dry` does; what stands for hosts is made up.
MAKE = """
import json, sys
from pathlib import Path
from gpulab.common.docker import Docker
from gpulab.common.paths import ROOT
from gpulab.engines.docker_shell import DockerShell
from gpulab.engines.remote_shell import RemoteShell
from gpulab.engines.slurm_shell import PORT, SlurmShell, nodes_of_a_job
from gpulab.lab.lab import load_lab
from gpulab.plan.container import here
from gpulab.plan.make import plan
from gpulab.plan.plan import Node, PlanSpec, Site
from gpulab.plan.script import LocalShell, as_script
from gpulab.stacks.stack import load_stack

lab, run, stack = load_lab(ROOT / "labs/start/tiny"), ROOT / "runs/start-tiny/1", load_stack("cpu")
shared = ROOT / "shared"
nodes = [Node("gpu1", "10.0.0.1", "eth0"), Node("gpu2", "10.0.0.2", "eth0")]
place = lambda plan, _: here(plan, "gpulab/cpu:1", [])
dockers = {n.name: Docker(f"ssh://{n.name}", ROOT / "way") for n in nodes}

def made(*, job=False, profile="gpu"):
    site = Site(nodes=nodes_of_a_job(2), rendezvous=PORT) if job else Site(nodes=nodes)
    return plan(PlanSpec(lab=lab, profile=profile, stack=stack, ports={"serve": 8000}), run, site)

shells = {
    "local": LocalShell(made()), "rehearsal": LocalShell(made(profile="cpu")),
    "docker": DockerShell(made(), "gpulab/cpu:1", place),
    "remote": RemoteShell(made(), "gpulab/cpu:1", place, dockers, shared / "runs/start-tiny/1"),
    "slurm": SlurmShell(made(job=True), "gpulab/cpu:1", place, shared, cdi=True, requeue=True),
}
for name, shell in shells.items():
    (ROOT / f"{name}.sh").write_text(as_script(shell), encoding="utf-8")
print(json.dumps({"venv": str(stack.venv), "argv": [c.argv for c in made().commands], "run": str(run)}))
"""
STUB = """\
#!/bin/bash
printf '%s\\0' "${0##*/}" "$@" > "$(mktemp "$CALLS/XXXXXX")"  # a file each: nodes run beside each other
[ "$2" != --interactive ] || cat >/dev/null
# As the real ready.py: not before there is a server, which the script may otherwise stop before it has noted its words.
[[ $1 != */inside/ready.py ]] || until grep -qsz deploy "$CALLS"/*; do :; done
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> tuple[Path, dict]:
    """A checkout in such a folder, with a lab, every engine's script of it, and programs that only note their words."""
    root = tmp_path_factory.mktemp("quoting") / FOLDER
    shutil.copytree(ROOT / "gpulab", root / "gpulab", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "docker/cpu").mkdir(parents=True)
    for file in ("stacks.yml", "flags.json", "cpu/cpu.lock"):
        shutil.copy(ROOT / "docker" / file, root / "docker" / file)
    folder = root / "labs/start/tiny"
    folder.mkdir(parents=True)
    (root / "labs/common/data").mkdir(parents=True)
    (folder / "lab.yaml").write_text(LAB, encoding="utf-8")
    (folder / "train.yaml").write_text("dataset: data.jsonl\n")
    (folder / "data.jsonl").touch()
    done = subprocess.run([sys.executable, "-c", MAKE], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    venv = Path(made["venv"])
    for program in [venv / "bin/swift", venv / "bin/python", root / "stubs/docker"]:
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(STUB)
        program.chmod(0o755)
    (venv / "complete").write_text(str(venv.resolve()))
    (root / "way").mkdir()
    return root, made


def carry_out(root: Path, script: str, *results: str) -> list[list[str]]:
    """What a script's programs were told."""
    calls = root / f"{script}.calls"
    shutil.rmtree(calls, ignore_errors=True)
    calls.mkdir()
    env = {**os.environ, "CALLS": str(calls), "PATH": f"{root / 'stubs'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", root / f"{script}.sh", *results], cwd=root, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not [*root.rglob("seen"), *root.parent.glob("seen")], "a word of the plan was carried out"
    return [call.read_text(encoding="utf-8").split("\0")[:-1] for call in calls.iterdir()]


@pytest.mark.parametrize("script", ["local", "rehearsal", "docker", "remote", "slurm"])
def test_every_engines_script_is_a_script(copy, script):
    done = subprocess.run(["bash", "-n", copy[0] / f"{script}.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("results", [[], ["the results' $(touch seen)"]])
def test_the_local_script_runs_the_plans_own_words(copy, results):
    root, made = copy
    calls = carry_out(root, "local", *results)
    into = str(root / (results[0] if results else "runs/start-tiny/1-again"))
    wanted = [[word.replace(made["run"], into) for word in argv] for argv in made["argv"]]
    swift = [call for call in calls if call[0] == "swift"]
    assert sorted(swift) == sorted(wanted)  # servers and nodes run beside each other
    assert {"serve", "train", "nodes"} <= {f.name for f in Path(into).iterdir()}


@pytest.mark.parametrize("script", ["docker", "remote"])
def test_containers_get_the_plans_own_words(copy, script):
    root, made = copy
    into = str(root / "results")
    calls = carry_out(root, script, "results")
    for argv in made["argv"]:
        wanted = [word.replace(made["run"], into) for word in argv]
        told = [call for call in calls if call[-len(wanted) :] == wanted]
        assert told, f"{script}: nobody was told {wanted}"
        assert all(f"--workdir\0{root}/labs/start/tiny" in "\0".join(call) for call in told)
    assert "QUOTE=it's $(touch seen)" in [word for call in calls for word in call]
    if script == "remote":
        sent = [Path(call[-1]).name for call in calls if any(word.startswith("mkdir -p") for word in call)]
        assert {".lab", ".common", "inside", "checks"} <= set(sent)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title: It's", 'title: "a\\ntouch seen', "title"),
        ('impossible: "$(touch seen)"', 'impossible: "a\\ntouch seen"', "impossible"),
        ("QUOTE:", '"A\\ntouch seen;B":', "has a line break"),
        ("QUOTE:", '"A;touch seen;B":', "no name of a variable"),
        ("QUOTE: \"it's", 'QUOTE: "a\\0b', "control character"),
    ],
)
def test_a_lab_with_a_line_break_where_none_can_be_is_refused(write_lab, old, new, said):
    text = LAB.replace('It\'s "hard" $(touch seen) `touch seen`', "It's\"") if "title" in old else LAB
    with pytest.raises(UsageError, match=said) as caught:
        load_lab(write_lab((old, new), text=text))
    assert "lab.yaml:" in caught.value.message and "\n" not in caught.value.message
