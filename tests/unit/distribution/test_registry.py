"""`inv push` and `inv pull` with a real registry; to and from an inventory's hosts, which are all this machine here.

Hosts of their own, with engines of two releases, are in tests/testbed/test_images_on_hosts.py.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.images.inspect import look
from gpulab.images.load import load
from gpulab.images.pull import pull
from gpulab.images.push import push
from gpulab.images.registry import named
from gpulab.images.save import save
from tests.unit.distribution.conftest import ONE, TWO, MakeImage, docker, forget, free_port, tag_of
from tests.unit.hosts.conftest import Sshd


def identity() -> str:
    return look(Docker(), [tag_of(ONE)])[tag_of(ONE)].id


def in_registry(port: int) -> list[str]:
    """The repositories that the registry holds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/_catalog") as answer:
        repositories: list[str] = json.load(answer)["repositories"]
        return repositories


def names() -> set[str]:
    """Every name that the engine has for an image."""
    return set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())


def inventory(folder: Path, *lines: str) -> str:
    path = folder / "gpus.ini"
    path.write_text("[gpu]\nnear ansible_host=127.0.0.1 ansible_connection=local\n[all:vars]\n" + "\n".join(lines))
    return str(path)


def test_what_was_pushed_is_what_is_pulled(make_image: MakeImage, registry: int):
    make_image(ONE)
    before, address = identity(), f"127.0.0.1:{registry}"
    pushed = push(ONE, registry=address, hosts="", limit="")
    forget()
    pulled = pull(ONE, registry=address, hosts="", limit="")
    assert identity() == before  # under the lab's own tag
    (row,) = pulled.data["images"]
    assert row["digests"] == (f"{address}/gpulab/{ONE}@{pushed.data['digests'][tag_of(ONE)]}",)


def test_a_registry_of_an_inventory_takes_and_gives(make_image: MakeImage, registry: int, tmp_path: Path):
    hosts = inventory(tmp_path, "registry_host=near", f"registry_port={registry}")
    make_image(ONE)
    before = identity()
    assert push(ONE, registry="", hosts=hosts, limit="").failures == []
    forget()
    outcome = pull(ONE, registry="", hosts=hosts, limit="")
    assert outcome.failures == []
    assert [(row["host"], row["id"]) for row in outcome.data["images"]] == [("near", before)]


def test_the_way_to_a_registry_goes_through_ssh_and_leaves_nothing(make_image: MakeImage, registry: int, sshd: Sshd):
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'first.pub').read_text()}")
    path = sshd.inventory()
    path.write_text(f"{path.read_text()}[all:vars]\nregistry_host=near\nregistry_port={registry}\n")
    make_image(ONE)
    before = names()
    outcome = push(ONE, registry="", hosts=str(path), limit="")
    assert outcome.data["registry"] == f"127.0.0.1:{registry}"
    assert in_registry(registry) == [f"gpulab/{ONE}"]
    assert names() == before


def test_a_tarball_reaches_a_site_by_way_of_its_registry(make_image: MakeImage, registry: int, tmp_path: Path):
    hosts = inventory(tmp_path, "registry_host=near", f"registry_port={registry}")
    make_image(ONE)
    before = identity()
    save(ONE, file=str(tmp_path / "one.tar"))
    forget()
    assert load(str(tmp_path / "one.tar"), hosts=hosts, limit="").data["hosts"] == {"near": "loaded"}
    assert (identity(), in_registry(registry)) == (before, [f"gpulab/{ONE}"])
    assert load(str(tmp_path / "one.tar"), hosts=hosts, limit="").data["hosts"] == {"near": "there"}


def test_without_a_registry_images_go_straight_to_the_hosts(make_image: MakeImage, tmp_path: Path):
    hosts = inventory(tmp_path)
    make_image(ONE)
    before = identity()
    assert push(ONE, registry="", hosts=hosts, limit="").data["hosts"] == {"near": "there"}
    save(ONE, file=str(tmp_path / "one.tar.gz"))
    forget()
    assert load(str(tmp_path / "one.tar.gz"), hosts=hosts, limit="").data["hosts"] == {"near": "loaded"}
    assert identity() == before
    with pytest.raises(UsageError, match="names no registry") as error:
        pull(ONE, registry="", hosts=hosts, limit="")
    assert "inv push" in error.value.cure


def test_what_the_registry_has_not_is_told_from_a_registry_out_of_reach(make_image: MakeImage, registry: int):
    make_image(ONE)
    with pytest.raises(UsageError, match=f"the registry 127.0.0.1:{registry} has no {tag_of(TWO)}") as error:
        pull(TWO, registry=f"127.0.0.1:{registry}", hosts="", limit="")
    assert "inv push" in error.value.cure
    nobody = f"127.0.0.1:{free_port()}"
    for verb, stack in ((push, ONE), (pull, TWO)):
        with pytest.raises(UsageError, match=f"cannot reach the registry {nobody}"):
            verb(stack, registry=nobody, hosts="", limit="")


def test_a_silent_registry_of_an_inventory_is_told_with_its_host(make_image: MakeImage, sshd: Sshd, monkeypatch):
    monkeypatch.setattr("gpulab.images.registry.REACHED_WITHIN", 1)
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'first.pub').read_text()}")
    path, port = sshd.inventory(), free_port()
    path.write_text(f"{path.read_text()}[all:vars]\nregistry_host=near\nregistry_port={port}\n")
    make_image(ONE)
    with pytest.raises(UsageError, match=f"near: no registry answers on port {port}") as error:
        push(ONE, registry="", hosts=str(path), limit="")
    assert "docker-registry" in error.value.cure


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["registry_host=nobody"], "registry_host=nobody is no host"),
        (["registry_host=near", "registry_upstream=https://registry.example"], "only passes on"),
    ],
)
def test_a_registry_that_cannot_be_pushed_to_is_refused(make_image: MakeImage, tmp_path: Path, lines, said):
    make_image(ONE)
    with pytest.raises(UsageError, match=said) as error:
        push(ONE, registry="", hosts=inventory(tmp_path, *lines), limit="")
    assert error.value.cure


@pytest.mark.parametrize("address", ["registry.example", "registry:5000", "localhost", "10.0.0.1:5000/team", "a.b:1"])
def test_addresses_of_registries(address: str):
    assert named(address).address == address


@pytest.mark.parametrize(
    "address", ["registry", "team/registry", "http://registry.example", "Registry.example", "-", "a b:1"]
)
def test_what_docker_would_take_for_docker_hub_or_not_at_all_is_no_address(address: str):
    with pytest.raises(UsageError, match="not the address"):
        named(address)


def test_where_to_has_to_be_said(engine: str):
    for verb in (push, pull):
        with pytest.raises(UsageError, match="where") as error:
            verb(ONE, registry="", hosts="", limit="")
        assert "--registry" in error.value.cure
