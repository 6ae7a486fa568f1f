"""gpulab/hosts/verify.py: what is read from the JUnit file that the real pytest writes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gpulab.common.paths import ROOT
from gpulab.hosts import trust, verify
from gpulab.hosts.ansible import environment
from gpulab.hosts.inventory import load_hosts
from gpulab.hosts.verify import EVERYONE, Result, bad, cure_of, read_junit, unexplained
from tests.unit.hosts.conftest import Sshd

CONFTEST = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.user_properties += [("check", "role." + item.function.__name__), ("cure", "mend HOST")]
"""
TESTS = """
import pytest

gpus = pytest.mark.parametrize("host", ["ansible://gpu-1", "ansible://gpu-1-b"])

@gpus
@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_holds(host, folder):
    assert folder

@gpus
def test_fails(host):
    assert host == "ansible://gpu-1", "another host"

def test_across():
    pytest.skip("one host only")

@pytest.fixture
def broken():
    raise OSError("no ssh")

def test_errs(broken):
    pass

@gpus
def test_depends(host):
    pytest.skip("not tried: role.test_fails failed")
"""


def test_results_by_check_and_host(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_role.py").write_text(TESTS)
    junit = tmp_path / "junit.xml"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", f"--rootdir={tmp_path}", str(tmp_path), "-o",
         "junit_family=xunit1", f"--junitxml={junit}"],
        capture_output=True, check=False,
    )  # fmt: skip
    results = read_junit(junit, ["gpu-1", "gpu-1-b"])
    found = sorted((r.check, r.host, r.state) for r in results)
    assert found == [
        ("role.test_across", EVERYONE, "skipped"),
        ("role.test_depends", "gpu-1", "untried"),
        ("role.test_depends", "gpu-1-b", "untried"),
        ("role.test_errs", EVERYONE, "error"),
        ("role.test_fails", "gpu-1", "passed"),
        ("role.test_fails", "gpu-1-b", "failed"),
        ("role.test_holds", "gpu-1", "passed"),
        ("role.test_holds", "gpu-1", "passed"),
        ("role.test_holds", "gpu-1-b", "passed"),
        ("role.test_holds", "gpu-1-b", "passed"),
    ]
    (failed,) = [r for r in bad(results) if r.state == "failed"]
    assert failed.evidence == "another host"
    assert failed.cure == "mend HOST"
    # On gpu-1-b the failure that explains it is told; on gpu-1 it is not there, so that must not look well.
    assert [(f.where, f.message) for f in unexplained(results)] == [
        ("gpu-1", "not tried, since role.test_fails failed: 1")
    ]


def test_a_cure_can_be_copied_with_the_inventory_as_it_was_given() -> None:
    cure = "provision the host again: ./inv provision --hosts gpus.ini --limit HOST --tags base"
    result = Result("gpu1", "base.time", "failed", 0.1, "", cure)
    assert cure_of(result, "sites/my lab.ini").endswith("--hosts 'sites/my lab.ini' --limit gpu1 --tags base")


def test_a_host_without_sudo_is_one_line_and_no_check_is_tried_on_it(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real login; for want of another user, the question that is asked there is what sudo says without a password."""
    inventory = sshd.inventory()
    trust.trust(str(inventory), limit="", yes=True, forget=[])
    monkeypatch.setattr(verify, "ROOT_WITHOUT_ASKING", "echo 'sudo: a password is required' >&2; exit 1")
    monkeypatch.setattr(verify, "try_promises", lambda *_: pytest.fail("a check was tried"))
    outcome = verify.verify(str(inventory), limit="", only="")
    (failure,) = outcome.failures
    assert "may not use sudo there without a password" in str(failure)


def test_where_no_check_is_meant_it_says_how_one_is(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = sshd.inventory()
    trust.trust(str(inventory), limit="", yes=True, forget=[])
    monkeypatch.setattr(verify, "ROOT_WITHOUT_ASKING", "true")
    (failure,) = verify.verify(str(inventory), limit="", only="nosuch").failures
    assert "no check was carried out" in failure.line and failure.cure.startswith("--only nosuch:")


def test_all_checks_of_a_host_share_one_login(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for a user for whom Ansible has made no folder of connections yet."""
    inventory = sshd.inventory()
    trust.trust(str(inventory), limit="", yes=True, forget=[])
    with tempfile.TemporaryDirectory() as home:  # a socket's path must be short
        monkeypatch.setenv("HOME", home)
        results = verify.try_promises(load_hosts(str(inventory)), inventory, tmp_path, only="base")
        subprocess.run(["pkill", "--full", f"{home}/.ansible/cp/"], check=False)
    log = (sshd.folder / "sshd.log").read_text()
    assert len(results) > 5 and log.count("Accepted publickey") == 1, log


def test_every_check_is_broken_by_some_scenario() -> None:
    written = "".join(path.read_text() for path in sorted((ROOT / "tests/hosts").glob("test_*.py")))
    checks = re.findall(r'^@check\(\s*"([\w.-]+)"', written, re.MULTILINE)
    scenarios = "".join(path.read_text() for path in sorted((ROOT / "tests/testbed").rglob("*.py")))
    assert [check for check in checks if not re.search(rf'"{re.escape(check)}["@]', scenarios)] == []


def test_the_workers_are_told_what_the_inventory_says(tmp_path: Path) -> None:
    """Each asks nothing of Ansible itself: an inventory that is a program is run once for all."""
    asked = tmp_path / "asked"
    inventory = tmp_path / "inventory"
    told = {"gpu": {"hosts": ["mine"]}, "_meta": {"hostvars": {"mine": {"ansible_connection": "local"}}}}
    inventory.write_text(f"#!/bin/sh\necho x >>{asked}\necho '{json.dumps(told)}'\n")
    inventory.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/hosts/test_base.py", "-q", "-p", "no:cacheprovider", "-n", "2",
         "-k", "no_such_check", "--hosts=ansible://mine", f"--ansible-inventory={inventory}"],
        cwd=ROOT, env={**os.environ, **environment()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.read_text().split() == ["x"], done.stdout
