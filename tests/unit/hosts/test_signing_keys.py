"""Of a key file exactly the pinned key is trusted: by `inv bundle`, and by the role `packages` on a host."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpulab.common.failure import Failure
from gpulab.common.paths import ROOT
from gpulab.hosts.ansible import environment, program
from gpulab.hosts.fetch import fetch_keys
from tests.keys import make_key, whole_keys

pytestmark = pytest.mark.skipif(not shutil.which("gpg"), reason="no gpg on this machine")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Ansible says what it fetched."""


Files = tuple[Path, str, str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """A folder of key files, where it is served, and the pinned fingerprint."""
    folder = tmp_path_factory.mktemp("keys")
    pinned, maker = make_key("the maker")
    _, stranger = make_key("a stranger")
    _, liar = make_key(f"I am {pinned}")
    (folder / "right").write_bytes(maker)
    (folder / "second-key").write_bytes(maker + stranger)
    (folder / "second-key-first").write_bytes(stranger + maker)
    (folder / "named-like-it").write_bytes(liar)
    (folder / "another").write_bytes(stranger)
    (folder / "no-key").write_bytes(b"<html>sign in first</html>")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}", pinned
        server.shutdown()


TRUSTED = ["right", "second-key", "second-key-first"]
REFUSED = ["named-like-it", "another", "no-key"]


@pytest.mark.parametrize("name", [*TRUSTED, *REFUSED])
def test_a_bundle_keeps_the_pinned_key_alone(files: Files, name: str, tmp_path: Path) -> None:
    _, url, pinned = files
    source = {"name": "lab", "key_url": f"{url}/{name}", "fingerprint": pinned.lower()}
    failures = fetch_keys({"sources": {"role": source}}, tmp_path)
    kept = tmp_path / "lab.asc"
    if name in TRUSTED:
        assert failures == []
        assert whole_keys(kept) == [pinned]
    else:
        assert failures == [Failure(f"not the key {pinned.lower()}", where=source["key_url"])]
    assert [path.name for path in tmp_path.iterdir()] == (["lab.asc"] if name in TRUSTED else [])


PLAY = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: packages, tasks_from: source}
"""


def trust(url: str, pinned: str, keyring: Path) -> tuple[str, bool]:
    """What Ansible says of the role's own tasks, run on this machine for the file at `url`; whether all went well."""
    play = keyring.with_suffix(".yml")
    play.write_text(PLAY)
    source = {"name": "lab", "key_url": url, "fingerprint": pinned, "uri": "http://lab", "suite": "./"}
    extra = {
        "packages_source": source, "packages_for": "a test", "packages_keyring": str(keyring),
        "packages_list": str(keyring.with_suffix(".sources")), "ansible_python_interpreter": "/usr/bin/python3",
    }  # fmt: skip
    argv = [program("ansible-playbook"), "-i", "localhost,", "-c", "local", "-e", json.dumps(extra), str(play)]
    env = environment() | {"ANSIBLE_ROLES_PATH": str(ROOT / "ansible" / "roles")}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, done.returncode == 0


@pytest.mark.parametrize("name", ["second-key", "named-like-it"])
def test_a_host_trusts_the_pinned_key_alone(files: Files, name: str, tmp_path: Path) -> None:
    _, url, pinned = files
    keyring = tmp_path / "lab.asc"
    said, well = trust(f"{url}/{name}", pinned, keyring)
    assert well == (name in TRUSTED), said
    if well:
        assert whole_keys(keyring) == [pinned]
    else:
        assert "holds another key than" in said
        assert not keyring.exists()


def test_a_second_key_that_was_trusted_before_is_thrown_out(files: Files, tmp_path: Path) -> None:
    folder, url, pinned = files
    keyring = tmp_path / "lab.asc"
    shutil.copy(folder / "second-key", keyring)
    said, well = trust(f"{url}/right", pinned, keyring)
    assert well, said
    assert whole_keys(keyring) == [pinned]
    again, _ = trust(f"{url}/right", pinned, keyring)
    assert "changed=0" in again
