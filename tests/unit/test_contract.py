"""The real inv: output that cannot be written, other alphabets, a read-only checkout, wrong words with --json."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from gpulab.common.paths import ROOT


def inv(command: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which `inv` stands for this checkout's."""
    line = f'inv() {{ {shlex.quote(str(ROOT / "inv"))} "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False,
        env={**os.environ, "GPULAB_RUNS": str(tmp_path / "runs"), **env},
    )  # fmt: skip


USAGE = {
    "an unknown verb": ("lbas", "'lbas'"),
    "no verb": ("", "'--json'"),
    "an empty verb": ("''", "''"),
    "bytes that are no text": (r"$'\xff'", "udcff"),
    "an unknown option": ("labs --nothing", "--nothing"),
    "another verb's option": ("labs --set x", "--set"),
    "an argument too many": ("labs more", "'more'"),
    "a missing argument": ("lab", "lab needs NAME"),
    "two verbs": ("labs stacks", "one verb at a time"),
    "no number": ("lab quickstart --nodes two", "'two' is not a whole number"),
    "no number, with =": ("plan quickstart --vram-gib=x", "'x' is not a number"),
    "an option without its value": ("runs --limit", "--limit needs a value"),
    "--set without its value": ("lab quickstart --dry --set", "--set needs a value"),
    "--set without key and value": ("lab quickstart --dry --set train", "not step.key=value"),
    "--set of nothing": ("lab quickstart --dry --set ''", "not step.key=value"),
    "help for an unknown verb": ("--help lbas", "'--json'"),
    "a list of nothing": ("--list lbas", "'--json'"),
    "an unknown lab": ("lab nothing", "no lab 'nothing'"),
}


@pytest.mark.parametrize(("words", "message"), USAGE.values(), ids=USAGE)
def test_wrong_usage_with_json_is_one_object(tmp_path, words, message):
    done = inv(f"inv {words} --json", tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = done.stdout.splitlines()
    said = json.loads(line)
    assert said["ok"] is False
    assert message in said["failures"][0]
    assert said["cure"]
    assert done.stderr == ""


@pytest.mark.parametrize("words", ["lab quickstart --dry --set", "lab quickstart --nodes two", "labs stacks"])
def test_wrong_usage_is_two_lines_for_people(tmp_path, words):
    done = inv(f"inv {words}", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  cure: ")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("words", ["labs", "lab quickstart --dry", ""])
def test_a_terminal_without_our_alphabet_gets_escapes(tmp_path, encoding, words):
    done = inv(f"inv {words}", tmp_path, PYTHONIOENCODING=encoding, GPULAB_RUNS=str(tmp_path / "运行"))
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "Error" not in done.stderr


@pytest.mark.parametrize("words", ["labs", "labs --json", "", "lbas --json"])
def test_a_full_disk_behind_standard_output_is_said(tmp_path, words):
    done = inv(f"inv {words} > /dev/full", tmp_path)
    assert done.returncode == 2
    assert "error: standard output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("words", ["labs", "lab quickstart --dry", ""])
def test_a_reader_that_leaves_ends_nothing_with_a_complaint(tmp_path, words):
    done = inv(f"inv {words} | true; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "2> /dev/full", "< /dev/null", "<&-"])
def test_closed_streams_change_no_exit_code(tmp_path, redirect):
    assert inv(f"inv labs {redirect}", tmp_path).returncode == 0
    assert inv(f"inv lbas {redirect}", tmp_path).returncode == 2


READ_ONLY = """
mount --bind {0} {0} && mount -o remount,ro,bind {0} || exit 99
mkdir -p {1}/empty {0}/.cache 2>/dev/null
mount --bind {1}/empty {0}/.cache 2>/dev/null && mount -o remount,ro,bind {0}/.cache
exec {0}/inv {2}
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("labs", 0), ("stacks", 0), ("lab quickstart --dry", 0), ("plan multi-gpu --gpus 2", 0), ("lab nothing", 2),
        ("build cpu --dry", 2),
    ],
)  # fmt: skip
def test_a_read_only_checkout(tmp_path, words, code):
    """What writes nothing there works; what has to is refused with the file and a cure."""
    line = READ_ONLY.format(ROOT, tmp_path, f"{words} --json")
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if subprocess.run([*unshare, "mount", "-t", "tmpfs", "x", tmp_path], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    done = subprocess.run(
        [*unshare, "bash", "-c", line], text=True, capture_output=True, timeout=120, check=False,
        env={**os.environ, "GPULAB_RUNS": str(tmp_path / "runs")},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["ok"] == (code == 0)
    if code and "nothing" not in words:
        assert "Read-only file system" in said["failures"][0]
        assert "writable" in said["cure"]
