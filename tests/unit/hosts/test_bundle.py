"""gpulab/hosts/bundle.py and fetch.py: the roles' variables by the real Ansible, keys from a real server."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpulab.common.errors import UsageError
from gpulab.common.paths import STACKS_YML
from gpulab.common.service_images import with_kept_digests
from gpulab.hosts.bundle import RELEASES, bundle
from gpulab.hosts.fetch import archive, fetch_images, fetch_keys, fetch_packages
from tests.testbed.standin.packages import toolkit
from tests.testbed.standin.repository import Repository


@pytest.fixture(scope="module")
def systems() -> dict[str, Any]:
    found: dict[str, Any] = bundle(system="", mirror="", download="", only="").data["systems"]
    return found


@pytest.mark.parametrize("system", RELEASES)
def test_every_system_gets_the_pinned_versions_from_its_own_repository(systems: dict[str, Any], system: str) -> None:
    node = yaml.safe_load(STACKS_YML.read_text())["node"]
    needs = systems[system]
    assert needs["packages"]["docker_engine"]["docker-ce"] == f"5:{node['docker']['engine']}-*"
    driver = {name: v for name, v in needs["packages"]["nvidia_driver"].items() if name.startswith("nvidia-open")}
    assert list(driver.values()) == [f"{node['driver']}*"]
    assert needs["sources"]["docker_engine"]["suite"] == RELEASES[system][0]
    assert system.replace(".", "") in needs["sources"]["nvidia_driver"]["uri"]
    assert {"chrony", "rsync"} <= set(needs["packages"]["base"])
    assert [image.partition("@")[0] for image in needs["images"]] == list(node["images"].values())
    assert any("/nginx:" in image for image in needs["images"]), "`inv serve --replicas` needs it"


def test_a_releases_own_signing_key_is_the_one_that_is_expected(systems: dict[str, Any]) -> None:
    """NVIDIA names a key's file after the end of its fingerprint; Debian 13's repository has another than the rest."""
    sources = {system: systems[system]["sources"]["nvidia_driver"] for system in RELEASES}
    for source in sources.values():
        assert source["fingerprint"].endswith(source["key_url"].rsplit("/", 1)[1].removesuffix(".pub").upper())
    others = {source["fingerprint"] for system, source in sources.items() if system != "debian13"}
    assert len(others) == 1 and sources["debian13"]["fingerprint"] not in others


def test_a_service_named_in_a_roles_task_is_not_forgotten(systems: dict[str, Any]) -> None:
    assert "docker-registry" in systems["debian13"]["packages"]["registry"]


def test_a_mirror_changes_the_addresses_and_not_the_fingerprints(systems: dict[str, Any]) -> None:
    theirs = bundle(system="debian12", mirror="cn", download="", only="").data["systems"]["debian12"]["sources"]
    ours = systems["debian12"]["sources"]
    for role in ours:
        assert theirs[role]["uri"] != ours[role]["uri"]
        assert theirs[role]["fingerprint"] == ours[role]["fingerprint"]


@pytest.mark.parametrize(("option", "value"), [("system", "debain12"), ("mirror", "nc"), ("only", "whels")])
def test_what_is_unknown_is_refused(option: str, value: str, tmp_path: Path) -> None:
    options = {"system": "debian12", "mirror": "", "download": str(tmp_path), "only": "", option: value}
    with pytest.raises(UsageError, match=value):
        bundle(**options)


def test_kinds_without_a_folder_to_download_to_are_refused_before_ansible_is_asked(monkeypatch) -> None:
    monkeypatch.setattr("gpulab.hosts.bundle.ask_the_roles", lambda *_: pytest.fail("asked"))
    with pytest.raises(UsageError, match="--only whels: not known"):
        bundle(system="", mirror="", download="", only="whels")
    with pytest.raises(UsageError, match="--only chooses what is downloaded"):
        bundle(system="", mirror="", download="", only="wheels")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real key at URL/key.asc."""
    if not shutil.which("gpg"):
        pytest.skip("no gpg on this machine")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch"]
    subprocess.run([*gpg, "--passphrase", "", "--quick-gen-key", "test", "ed25519"], check=True, capture_output=True)
    (tmp_path / "key.asc").write_bytes(
        subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def test_only_a_key_with_its_fingerprint_is_kept(server: str, tmp_path: Path) -> None:
    told = subprocess.run(
        ["gpg", "--batch", "--show-keys", "--with-colons", str(tmp_path / "key.asc")], capture_output=True, text=True
    ).stdout
    right = next(line.split(":")[9] for line in told.splitlines() if line.startswith("fpr"))
    sources = {
        "good": {"name": "good", "key_url": f"{server}/key.asc", "fingerprint": right},
        "forged": {"name": "forged", "key_url": f"{server}/key.asc", "fingerprint": "0" * 40},
        "gone": {"name": "gone", "key_url": f"{server}/none.asc", "fingerprint": right},
    }
    failures = fetch_keys({"sources": sources}, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.asc"]
    assert len(failures) == 2
    assert "not the key 0000" in failures[0].message
    assert "404" in failures[1].message


def test_another_distributions_archive_is_the_mirrors(systems: dict[str, Any]) -> None:
    assert systems["ubuntu24.04"]["archive"] == {"distribution": "Ubuntu", "release": "noble", "mirror": ""}
    lines, problem = archive("Debian", "trixie", "https://mirror.example")
    if problem:
        assert "debian-archive-keyring" in problem.cure  # a machine without Debian's keys says which package has them
    else:
        assert [line.split()[2:4] for line in lines] == [
            ["https://mirror.example/debian", "trixie"],
            ["https://mirror.example/debian", "trixie-updates"],
        ]


def test_an_image_is_fetched_by_the_digest_that_is_kept_and_saved_under_its_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file brings no digest: an engine that has it knows the image by its tag alone."""
    known, new = "registry.example/known:1", "registry.example/new:1"
    first, came = (f"sha256:{letter * 64}" for letter in "ab")
    monkeypatch.setattr("gpulab.common.service_images.DIGESTS", tmp_path / "services.json")
    (tmp_path / "services.json").write_text(json.dumps({known: first}))
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\ncase $1 in image) echo \'["x@{came}"]\' ;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    listed = with_kept_digests([known, new])
    assert listed == [f"{known}@{first}", new]
    assert fetch_images(listed, tmp_path) == []
    asked = [line for line in (tmp_path / "asked").read_text().splitlines() if not line.startswith("image")]
    assert asked == [
        f"pull --quiet {known}@{first}", f"tag {known}@{first} {known}",
        f"save --output {tmp_path}/registry.example_known_1.tar {known}",
        f"pull --quiet {new}", f"save --output {tmp_path}/registry.example_new_1.tar {new}",
    ]  # fmt: skip
    assert with_kept_digests([new]) == [f"{new}@{came}"], "from now on"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Repository]]:
    """A signed repository with stand-in packages, served."""
    for tool in ("apt-get", "dpkg-scanpackages", "apt-ftparchive", "gpg"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} on this machine (tests/testbed/packages.txt)")
    made = Repository.make(tmp_path / "repository", toolkit("1.2.3"))
    with made.serve("127.0.0.1") as url:
        yield f"{url}/toolkit", made


@pytest.mark.parametrize("wanted", ["1.2.3-*", "9.9.9-*"])
def test_a_makers_packages_are_fetched_with_what_they_need(
    repository: tuple[str, Repository], tmp_path: Path, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, made = repository
    source = {
        "name": "toolkit", "uri": url, "suite": "./", "components": "",
        "key_url": f"{url}/key.asc", "fingerprint": made.fingerprint,
    }  # fmt: skip
    # These need nothing of the distribution's own archive.
    monkeypatch.setattr("gpulab.hosts.fetch.archive", lambda **_: ([], None))
    needs = {
        "archive": {},
        "sources": {"toolkit": source}, "packages": {"toolkit": {"nvidia-container-toolkit": wanted}},
    }  # fmt: skip
    assert fetch_keys(needs, tmp_path / "out") == []
    failures = fetch_packages("debian13", needs, tmp_path / "out")
    fetched = {path.name.split("_")[0] for path in (tmp_path / "out").glob("apt/cache/archives/*.deb")}
    if wanted == "1.2.3-*":
        assert failures == []
        assert "libnvidia-container1" in fetched
    else:
        assert "9.9.9" in failures[0].message
