"""ansible/library/package_gap.py, on a real dpkg's database in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ansible_module import ansible_module

# dpkg starts this to unpack: it kills dpkg at that moment, as when the power goes.
KILLS = '#!/bin/sh\ncase "$*" in *--fsys-tarfile*) kill -KILL $PPID ;; esac\nexec /usr/bin/dpkg-deb "$@"\n'


@pytest.fixture
def gap() -> Any:
    return ansible_module("package_gap")


def test_what_is_offered_is_asked_once_for_all_packages(gap: Any) -> None:
    asked = []
    table = "   one | 2 | a main\n   one | 1 | a main\n   one | 1 | b main\n three | 3:1-1 | a main\n"

    def run_command(argv: list[str]) -> tuple[int, str, str]:
        asked.append(argv)
        return 0, table, "N: Unable to locate package two"

    found = gap.offered(SimpleNamespace(run_command=run_command), ["one", "two", "three"])
    assert found == {"one": ["2", "1"], "two": [], "three": ["3:1-1"]}
    assert asked == [["apt-cache", "madison", "one", "two", "three"]]


def unpack(name: str, root: Path, path: str) -> None:
    """A small package, unpacked by dpkg."""
    info = root / name / "DEBIAN"
    info.mkdir(parents=True)
    (info / "control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@localhost>\nDescription: {name}\n"
    )
    (root / name / f"{name}.txt").write_text(name)
    info.parent.chmod(0o755)
    info.chmod(0o755)
    subprocess.run(["dpkg-deb", "--build", str(root / name), str(root)], check=True, capture_output=True)
    argv = ["dpkg", "--force-not-root", "--force-script-chrootless", f"--root={root / 'host'}", "--unpack"]
    subprocess.run([*argv, str(root / f"{name}_1_all.deb")], env={**os.environ, "PATH": path}, capture_output=True)


def test_a_package_that_was_cut_off_while_it_was_unpacked_is_named(gap: Any, tmp_path: Path) -> None:
    if not shutil.which("dpkg-deb"):
        pytest.skip("no dpkg on this machine")
    database = tmp_path / "host/var/lib/dpkg"
    for folder in ("info", "updates", "triggers"):
        (database / folder).mkdir(parents=True)
    (database / "status").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dpkg-deb").write_text(KILLS)
    (tmp_path / "bin/dpkg-deb").chmod(0o755)
    unpack("whole", tmp_path, os.environ["PATH"])
    unpack("cut", tmp_path, f"{tmp_path}/bin:{os.environ['PATH']}")

    def run_command(argv: list[str]) -> tuple[int, str, str]:
        env = {**os.environ, "DPKG_ADMINDIR": str(database)}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert gap.half_unpacked(SimpleNamespace(run_command=run_command)) == ["cut"]
