"""Images on real hosts with engines of two Debian releases and the role's registry, by the verbs as typed."""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpulab.images.image import Image
from gpulab.stacks.stack import load_stack
from tests.testbed import Node, engine
from tests.testbed.conftest import Lab, lab
from tests.testbed.paths import REPO, SOCKET
from tests.testbed.standin.repository import Repository

STACK = "gptq"
"""A stack that no test builds for real, nor makes a stand-in of: others use the same engine at the same time."""
TAG = Image(load_stack(STACK)).tag
PAYLOAD = 30_000_000
LOGINS = tempfile.TemporaryDirectory(prefix="gpulab-")
"""Where inv keeps its logins open: here for this file alone, since some are forgotten. A socket's path is short."""


@pytest.fixture(scope="module")
def site(repository: Repository) -> Iterator[Lab]:
    """Two hosts, the last with the registry: the roles made them so."""
    nodes = [
        Node("new", "trixie", gpus=0, packages=("docker.io", "docker-cli", "docker-buildx", "docker-compose")),
        Node("old", "bookworm", gpus=0, packages=("docker.io", "docker-registry")),
    ]
    with lab("images", nodes, repository) as made:
        made.variables |= {"docker_engine_source": "distribution"}
        made.inventory = made.bed.inventory(variables=made.variables)
        made.converged("--tags", "base,docker_engine,registry")
        make_image()
        yield made
        engine.docker("image", "rm", "--force", TAG, check=False)


def make_image() -> None:
    """A random image on this machine, under the stack's tag."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("payload")
        member.size = PAYLOAD
        archive.addfile(member, io.BytesIO(os.urandom(PAYLOAD)))
    command = ["docker", "-H", f"unix://{SOCKET}", "import", "-", TAG]
    subprocess.run(command, input=tar.getvalue(), check=True, capture_output=True)


def inv(*words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON object of a verb, with the testbed's engine as this machine's."""
    done = subprocess.run(
        [sys.executable, str(REPO / "gpulab" / "__main__.py"), *words, "--json"],
        cwd=REPO, env={**os.environ, "DOCKER_HOST": f"unix://{SOCKET}", "TMPDIR": LOGINS.name},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def ids(answer: dict[str, Any]) -> dict[str, str]:
    """Host -> identity of the image, of those that have it."""
    return {row["host"]: row["id"] for row in answer["images"] if row["stack"] == STACK and row["state"] == "there"}


def here() -> str:
    """The identity of this machine's."""
    (identity,) = ids(inv("images")[1]).values()
    return identity


def received(site: Lab, host: str) -> int:
    """The bytes that a host has received so far."""
    return int(site.bed.sh(host, "cat /sys/class/net/eth0/statistics/rx_bytes"))


def test_pushed_once_and_pulled_everywhere_it_is_the_same_image(site: Lab) -> None:
    code, answer = inv("images", "--hosts", str(site.inventory), "--need", STACK)
    assert (code, ids(answer), len(answer["failures"])) == (1, {}, 2)
    code, answer = inv("push", STACK, "--hosts", str(site.inventory))
    assert code == 0, answer["failures"]
    code, answer = inv("pull", STACK, "--hosts", str(site.inventory))
    assert code == 0, answer["failures"]
    code, answer = inv("images", "--hosts", str(site.inventory), "--need", STACK)
    assert (code, ids(answer)) == (0, {"new": here(), "old": here()})


def test_another_build_of_the_same_tag_is_found_and_put_right(site: Lab) -> None:
    site.bed.sh(
        "new", f"docker image rm --force {TAG}; echo other | tar -c --files-from /dev/null | docker import - {TAG}"
    )
    code, answer = inv("images", "--hosts", str(site.inventory))
    assert code == 1
    (failure,) = answer["failures"]
    assert f"{TAG} is not the same image everywhere" in failure and f"old: {here()}" in failure
    assert inv("pull", STACK, "--hosts", str(site.inventory))[0] == 0
    assert ids(inv("images", "--hosts", str(site.inventory))[1]) == {"new": here(), "old": here()}


TO_CONTAINERD = """\
cp /etc/docker/daemon.json /root/
sed -i -e '1s/{/{"features": {"containerd-snapshotter": true},/' -e s/overlay2/overlayfs/ /etc/docker/daemon.json
"""
# The role has just restarted it, and systemd stops counting only when told to.
RESTART = "systemctl reset-failed docker; systemctl restart docker"


def test_an_engine_that_keeps_images_another_way_has_the_same_image(site: Lab) -> None:
    """containerd's store, the default of newer engines: the engine's own id is another one there."""
    site.bed.sh("new", TO_CONTAINERD + RESTART)
    try:
        assert ids(inv("images", "--hosts", str(site.inventory))[1]) == {"old": here()}  # another store: empty
        code, answer = inv("pull", STACK, "--hosts", str(site.inventory))
        assert code == 0, answer["failures"]
        assert ids(inv("images", "--hosts", str(site.inventory))[1]) == {"new": here(), "old": here()}
        own = {host: site.bed.sh(host, f"docker image inspect --format '{{{{.Id}}}}' {TAG}") for host in ("new", "old")}
        assert own["new"] != own["old"]
    finally:
        site.bed.sh("new", f"mv /root/daemon.json /etc/docker/; {RESTART}")


def test_a_tarball_is_uploaded_once_for_the_site(site: Lab, tmp_path: Path) -> None:
    make_image()
    file = str(tmp_path / "images.tar")
    assert inv("save", STACK, "--file", file)[0] == 0
    before = {host: received(site, host) for host in ("new", "old")}
    sent = sent_to(site)
    code, answer = inv("load", file, "--hosts", str(site.inventory))
    assert code == 0, answer["failures"]
    assert answer["hosts"] == {"new": "pulled", "old": "loaded"}
    assert ids(inv("images", "--hosts", str(site.inventory))[1]) == {"new": here(), "old": here()}
    assert received(site, "new") - before["new"] > PAYLOAD  # it did get it, and from the other host:
    assert sent_to(site) - sent < 1.5 * PAYLOAD
    assert inv("load", file, "--hosts", str(site.inventory))[1]["hosts"] == {"new": "there", "old": "there"}


def sent_to(site: Lab) -> int:
    """The bytes that this machine has sent into the site's network."""
    (bridge,) = [
        route["dev"]
        for route in json.loads(subprocess.run(["ip", "-json", "route"], capture_output=True, check=True).stdout)
        if route["dst"] == f"{site.bed.subnet}.0/24"
    ]
    return int(Path(f"/sys/class/net/{bridge}/statistics/tx_bytes").read_text())


def test_a_dead_host_is_a_line_and_the_others_get_theirs(site: Lab, tmp_path: Path) -> None:
    make_image()
    file = str(tmp_path / "images.tar.gz")
    assert inv("save", STACK, "--file", file)[0] == 0
    hosts = site.inventory.read_text().replace("[gpu]\n", f"[gpu]\ngone ansible_host={site.bed.subnet}.99\n")
    with_one_more = site.inventory.with_name("one-more.ini")  # beside group_vars
    with_one_more.write_text(hosts)
    code, answer = inv("load", file, "--hosts", str(with_one_more))
    assert (code, answer["hosts"]) == (1, {"gone": "failed", "new": "pulled", "old": "loaded"})
    (failure,) = answer["failures"]
    assert failure.startswith(f"gone: {site.bed.subnet}.99 does not answer")
    assert ids(inv("images", "--hosts", str(site.inventory))[1]) == {"new": here(), "old": here()}


def test_without_a_registry_each_host_is_sent_its_own(site: Lab, tmp_path: Path) -> None:
    make_image()
    bare = site.bed.inventory(tmp_path / "gpus.ini", variables={**site.variables, "registry_host": ""})
    code, answer = inv("push", STACK, "--hosts", str(bare))
    assert (code, answer["hosts"]) == (0, {"new": "loaded", "old": "loaded"}), answer["failures"]
    assert ids(inv("images", "--hosts", str(bare))[1]) == {"new": here(), "old": here()}


def test_who_may_not_use_a_hosts_engine_is_told_the_cure(site: Lab) -> None:
    site.bed.sh("new", "gpasswd --delete lab docker")
    log_in_anew()
    try:
        code, answer = inv("images", "--hosts", str(site.inventory))
    finally:
        site.bed.sh("new", "usermod --append --groups docker lab")
    assert code == 1
    (failure,) = answer["failures"]
    assert "no permission on the engine of new" in failure and "usermod -aG docker" in failure
    assert inv("images", "--hosts", str(site.inventory))[0] == 0, "the login that was kept open is renewed"


def log_in_anew() -> None:
    """Forget the logins that are kept open."""
    for socket in Path(LOGINS.name).glob("gpulab-ssh-*/*"):
        socket.unlink()


def test_a_registry_that_is_down_is_one_line_a_host(site: Lab) -> None:
    site.bed.sh("old", "systemctl stop docker-registry")
    try:
        began = time.monotonic()
        code, answer = inv("pull", STACK, "--hosts", str(site.inventory))
        assert time.monotonic() - began < 90
    finally:
        site.bed.sh("old", "systemctl start docker-registry")
    assert code == 1
    assert [failure.split(" cannot reach the registry")[0] for failure in answer["failures"]] == ["new", "old"]
