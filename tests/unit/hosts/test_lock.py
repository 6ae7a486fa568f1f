"""gpulab/hosts/lock.py, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.hosts.lock import holding, lock_file

HOLD = """
import sys
from pathlib import Path
from gpulab.hosts.lock import holding
with holding(Path(sys.argv[1]), wait=False, say=print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of tmp_path/gpus.ini until it is told otherwise."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "gpus.ini")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout and process.stdin
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(timeout=10)
    lock_file(tmp_path / "gpus.ini").unlink()


def test_the_second_is_told_who_holds_it(other: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error, holding(tmp_path / "gpus.ini", wait=False, say=print):
        pass
    assert f"(pid {other.pid}) since " in error.value.message
    assert "--wait" in error.value.cure


def test_another_name_of_the_inventory_has_the_same_lock(other: subprocess.Popen[str], tmp_path: Path) -> None:
    (tmp_path / "link.ini").symlink_to(tmp_path / "gpus.ini")
    with pytest.raises(UsageError), holding(tmp_path / "link.ini", wait=False, say=print):
        pass


def test_whoever_waits_says_so_and_goes_on_when_the_holder_ends(other: subprocess.Popen[str], tmp_path: Path) -> None:
    said: list[str] = []
    assert other.stdin

    def say(line: str) -> None:
        said.append(line)
        threading.Thread(target=other.stdin.close).start()

    with holding(tmp_path / "gpus.ini", wait=True, say=say):
        assert json.loads(lock_file(tmp_path / "gpus.ini").read_text())["pid"] == os.getpid()
    assert f"pid {other.pid}" in said[0]


def test_a_killed_holder_leaves_no_lock(other: subprocess.Popen[str], tmp_path: Path) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait(timeout=10)
    with holding(tmp_path / "gpus.ini", wait=False, say=print):
        pass
