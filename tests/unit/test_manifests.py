"""What is told beside each image: docker/manifests, made by `inv build`."""

from __future__ import annotations

import json
import re

import pytest

from gpulab.common.paths import DOCKER
from gpulab.stacks.lock_parts import entries
from gpulab.stacks.stack import load_stack, load_stacks

MANIFESTS = DOCKER / "manifests"


def manifest(name):
    return json.loads((MANIFESTS / f"{name}.json").read_text())


BUILT = [name for name in load_stacks() if "not_built" not in manifest(name)]


@pytest.mark.parametrize("name", load_stacks())
def test_every_stack_has_one_and_where_its_image_was_not_built_it_says_why(name):
    told = manifest(name)
    assert told["stack"] == name
    assert told.get("tag") or told["not_built"]


@pytest.mark.parametrize("name", BUILT)
def test_its_packages_are_the_locks(name):
    locked = entries(load_stack(name).lock.read_text())  # a universal lock has several versions of some
    told = manifest(name)["packages"]
    assert told
    assert [
        f"{p}=={v}" for p, v in told.items() if p in locked and not re.search(f"=={re.escape(v)}[ ;]", locked[p])
    ] == []
    assert set(told) - set(locked) <= {"torch"}  # its CPU build stands outside the lock


@pytest.mark.parametrize("name", BUILT)
def test_the_layers_add_up_and_the_parents_come_first(name):
    told = manifest(name)
    assert sum(layer["bytes"] for layer in told["layers"]) == told["bytes"]
    parent = load_stack(name).parent
    below = manifest(parent.name) if parent else {"tag": None, "layers": [], "built": "", "base": told["base"]}
    assert (told["parent"] is None) == (parent is None)
    if below["base"] != told["base"]:
        return  # tests of images built cpu's again, and on their own base of today: another tag
    assert told["parent"] == below["tag"]
    if below["built"] <= told["built"]:  # or on the same base: the same tag, layers of another time
        shared = [x["digest"] for x in below["layers"]]
        assert [x["digest"] for x in told["layers"]][: len(shared)] == shared


@pytest.mark.parametrize("name", BUILT)
def test_the_sbom_names_every_package_of_the_manifest(name):
    bom = json.loads((MANIFESTS / f"{name}.cdx.json").read_text())
    purls = {component["purl"].split("?")[0] for component in bom["components"]}
    assert {f"pkg:pypi/{p}@{v.replace('+', '%2B')}" for p, v in manifest(name)["packages"].items()} <= purls
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in purls)
