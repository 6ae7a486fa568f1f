"""gpulab/hosts/shipped.py: what is sent to a host runs there with nothing of the project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpulab.hosts.shipped import program
from gpulab.inside.machine import facts

NODE = {"parts": ["system", "time"], "places": {}, "node": ["/", "/none", "127.0.0.1"], "images": []}


@pytest.mark.parametrize(
    ("name", "words", "tells"),
    [
        ("machine.facts", sorted(facts.PARTS), set(facts.PARTS)),
        ("host_facts", [json.dumps(NODE)], {"machine", "node", "engine", "images"}),
        ("gpu_use", ["no-claim"], {"gpus", "programs", "claim"}),
    ],
)
def test_a_program_needs_nothing_but_python(name: str, words: list[str], tells: set[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-", *words], input=program(name), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert tells <= json.loads(done.stdout).keys()


def test_what_is_told_there_is_what_is_told_here(tmp_path: Path) -> None:
    there = subprocess.check_output([sys.executable, "-I", "-", "system"], input=program("machine.facts"), text=True)
    assert json.loads(there) == facts.look(["system"])


def test_hardware_is_looked_for_where_the_roles_were_told(tmp_path: Path) -> None:
    device = tmp_path / "0000:01:00.0"
    device.mkdir()
    for name, said in {"vendor": "0x10de", "class": "0x030200"}.items():
        (device / name).write_text(said)
    words = [sys.executable, "-I", "-", "gpus", f"pci={tmp_path}"]
    there = subprocess.check_output(words, input=program("machine.facts"), text=True)
    assert [gpu["address"] for gpu in json.loads(there)["gpus"]["pci"]] == [device.name]
