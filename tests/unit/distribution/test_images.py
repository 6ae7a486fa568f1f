"""gpulab/images/listing.py, found.py and places.py on a real engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.images import inspect
from gpulab.images.image import Image
from gpulab.images.inspect import look, total_size
from gpulab.images.listing import different, list_images
from gpulab.stacks.stack import load_stack
from tests.unit.distribution.conftest import ONE, TWO, MakeImage, docker, free_port, tag_of


def rows(outcome, host=None):
    return {row["stack"]: row for row in outcome.data["images"] if host in (None, row["host"])}


def test_what_is_there_absent_or_of_another_state_is_told_apart(make_image: MakeImage):
    tag = make_image(ONE)
    make_image(tag=f"gpulab/{TWO}:000000000000")
    outcome = list_images(hosts="", limit="", need="")
    assert outcome.failures == []
    there, other = rows(outcome)[ONE], rows(outcome)[TWO]
    assert (there["state"], there["tag"]) == ("there", tag)
    assert there["size"] == int(docker("image", "inspect", "-f", "{{.Size}}", tag))
    assert (other["state"], other["has"]) == ("other", ["000000000000"])


def test_a_needed_image_that_is_missing_is_a_failure_with_the_cure(make_image: MakeImage):
    make_image(ONE)
    assert list_images(hosts="", limit="", need=ONE).failures == []
    (failure,) = list_images(hosts="", limit="", need=f"{ONE},{TWO}").failures
    assert tag_of(TWO) in failure.message and failure.cure == f"./inv build {TWO}"


def test_one_tag_with_different_images_is_named_with_who_has_which(make_image: MakeImage):
    image = Image(load_stack(ONE))
    make_image(ONE)
    first = look(Docker(), [image.tag])
    again = look(Docker(), [image.tag])
    make_image(ONE)
    second = look(Docker(), [image.tag])
    assert different([image], {"gpu1": first, "gpu2": again}, "gpus.ini") == []
    (failure,) = different([image], {"gpu1": first, "gpu2": again, "gpu3": second}, "gpus.ini")
    assert f"gpu1, gpu2: {first[image.tag].id}; gpu3: {second[image.tag].id}" in failure.message
    assert f"inv pull {ONE} --hosts gpus.ini" in failure.cure


def test_another_command_in_the_same_layers_is_another_image(make_image: MakeImage):
    tag = make_image(ONE)
    before = look(Docker(), [tag])[tag]
    docker("container", "create", "--name", "gpulab-test", tag, "true")
    try:
        docker("commit", "--change", "CMD other", "gpulab-test", tag)
    finally:
        docker("container", "rm", "gpulab-test")
    after = look(Docker(), [tag])[tag]
    assert after.layers[: len(before.layers)] == before.layers
    assert after.id != before.id


def test_shared_layers_count_once(make_image: MakeImage):
    parent = make_image(ONE, size=3000)
    docker("container", "create", "--name", "gpulab-test", parent, "true")
    try:
        docker("commit", "gpulab-test", tag_of(TWO))
    finally:
        docker("container", "rm", "gpulab-test")
    found = look(Docker(), [parent, tag_of(TWO)])
    assert len(found) == 2
    assert total_size(found.values()) == found[tag_of(TWO)].size


def test_a_dead_host_is_a_line_and_the_others_are_shown(make_image: MakeImage, tmp_path: Path):
    make_image(ONE)
    inventory = tmp_path / "gpus.ini"
    inventory.write_text(
        "[gpu]\nalive ansible_host=127.0.0.1 ansible_connection=local\n"
        f"dead ansible_host=127.0.0.1 ansible_port={free_port()}\n"
    )
    outcome = list_images(hosts=str(inventory), limit="", need="")
    assert rows(outcome, "alive")[ONE]["state"] == "there"
    assert outcome.data["silent"] == ["dead"]
    (failure,) = outcome.failures
    assert failure.line.startswith("dead: nothing answers on 127.0.0.1 port")


def test_no_engine_is_one_line_with_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(UsageError, match="no Docker engine answers") as error:
        list_images(hosts="", limit="", need="")
    assert "systemctl start docker" in error.value.cure


@pytest.mark.parametrize(("need", "cure"), [("sglong", "sglang"), (",", "cpu")])
def test_a_wrong_stack_is_named(engine: str, need: str, cure: str):
    with pytest.raises(UsageError) as error:
        list_images(hosts="", limit="", need=need)
    assert cure in error.value.cure


def test_an_image_that_is_removed_while_it_is_looked_at_is_not_there(
    make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag, gone = make_image(), "gpulab/removed:1"
    monkeypatch.setattr(inspect, "present", lambda _: [gone, tag])
    assert list(look(Docker(), [gone, tag])) == [tag]
