"""The wrapper: fresh, stale, interrupted, started twice, from any directory, on a bare Python. Real installs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
SMALL_LOCK = "invoke"  # what is installed in these tests: the whole lock takes half a minute each time

TASKS = """
from invoke import task

@task
def hello(c):
    print("hello from", __file__)
"""
# uv makes a venv in a tenth of pip's time: for tests of what comes before or after that. The others show pip's way.
WITH_UV = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
# what Debian's bare Python looks like to bootstrap.py
NO_ENSUREPIP = """
import importlib.util as util
find_spec = util.find_spec
util.find_spec = lambda name, package=None: None if name == "ensurepip" else find_spec(name, package)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of what the wrapper touches, with a lock of one package and a tasks.py that needs no more."""
    home = tmp_path / "a clone"  # a space in the path
    (home / "gpulab").mkdir(parents=True)
    shutil.copy(ROOT / "inv", home)
    common = ("__init__.py", "errors.py", "failure.py", "output.py")
    verbs = ("__init__.py", "command_line.py")
    files = ["__init__.py", "__main__.py", "bootstrap.py", *(f"common/{f}" for f in common)]
    for name in [*files, *(f"verbs/{f}" for f in verbs)]:
        (home / "gpulab" / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "gpulab" / name, home / "gpulab" / name)
    (home / "tasks.py").write_text(
        "from invoke import task\n\n@task\ndef hello(c):\n    print('hello from', __file__)\n"
    )
    blocks = (ROOT / "gpulab/control.lock").read_text().split("\n")
    start = next(n for n, line in enumerate(blocks) if line.startswith(f"{SMALL_LOCK}=="))
    end = next(n for n in range(start + 1, len(blocks)) if not blocks[n].startswith(" "))
    (home / "gpulab/control.lock").write_text("\n".join(blocks[start:end]) + "\n")
    return home


def inv(
    home: Path, *words: str, cwd: Path | None = None, path: str | None = None, name: str = "inv"
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"PATH": path} if path else {})}
    return subprocess.run([home / name, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_the_first_call_installs_and_the_second_does_not(clone):
    first = inv(clone, "hello")
    assert first.returncode == 0, first.stderr
    assert "installing the lab's tools" in first.stderr
    assert first.stdout.startswith("hello from"), "standard output is the verb's alone"
    again = inv(clone, "hello")
    assert (again.returncode, again.stderr) == (0, "")


def test_it_works_from_any_directory_and_through_a_link(clone, tmp_path):
    (tmp_path / "link").symlink_to(clone / "inv")
    done = inv(tmp_path, "hello", cwd=Path("/"), path=WITH_UV, name="link")
    assert done.returncode == 0, done.stderr
    assert str(clone / "tasks.py") in done.stdout


def test_what_was_imported_is_not_compiled_again_though_the_environment_forbids_bytecode(clone, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert inv(clone, "hello").returncode == 0
    assert list(clone.glob(".venv/lib/python3*/site-packages/invoke/__pycache__/*.pyc"))


def test_a_venv_whose_python_is_gone_is_told_with_the_cure(clone):
    (clone / ".venv/bin").mkdir(parents=True)
    shutil.copy(clone / "gpulab/control.lock", clone / ".venv/installed.lock")
    (clone / ".venv/bin/python").symlink_to("/nowhere/python3")
    done = inv(clone, "hello")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first == f"error: {clone}/.venv can't be used: the Python that it was made of is gone, or is another user's"
    assert second.startswith(f"  cure: rm -r {clone}/.venv")


def test_a_stale_lock_is_installed_anew(clone):
    inv(clone, "hello", path=WITH_UV)
    with (clone / "gpulab/control.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "installing the lab's tools" in inv(clone, "hello", path=WITH_UV).stderr
    assert inv(clone, "hello").stderr == ""


def test_an_interrupted_install_begins_anew(clone):
    install = subprocess.Popen(
        [sys.executable, clone / "gpulab/bootstrap.py"], start_new_session=True, stderr=subprocess.DEVNULL
    )
    wait_until((clone / ".venv/bin/python").exists, "the venv is begun", 30)
    os.killpg(install.pid, signal.SIGKILL)
    install.wait()
    assert not (clone / ".venv/installed.lock").exists()
    done = inv(clone, "hello", path=WITH_UV)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_while_installing_is_said_in_a_line(clone):
    install = subprocess.Popen(
        [sys.executable, clone / "gpulab/bootstrap.py"], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    wait_until((clone / ".venv").exists, "the venv is begun", 30)
    os.killpg(install.pid, signal.SIGINT)
    _, said = install.communicate(timeout=30)
    assert install.returncode == 130
    assert "interrupted; the next start begins the install anew" in said
    assert "Traceback" not in said.split("inv:")[-1]


def test_started_twice_at_once_the_second_waits_and_both_work(clone):
    both = [
        subprocess.Popen([clone / "inv", "hello"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("installing the lab's tools" in err for _, err in outputs) == 1
    assert sum("another inv is installing" in err for _, err in outputs) == 1


def test_a_python_without_venv_gets_the_one_apt_line(clone, tmp_path):
    """Debian and Ubuntu ship Python without ensurepip: the same is had by hiding the module."""
    bare = tmp_path / "bin"
    bare.mkdir()
    (tmp_path / "hide").mkdir()
    for tool in ("sh", "cmp", "dirname", "readlink"):
        (bare / tool).symlink_to(shutil.which(tool) or "")
    python = bare / "python3"
    (tmp_path / "hide/sitecustomize.py").write_text(NO_ENSUREPIP)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/hide exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = inv(clone, "hello", path=str(bare))
    assert done.returncode == 2
    version = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert done.stderr.splitlines()[-1].endswith(f"apt-get install -y {version}")
    assert not (clone / ".venv").exists()


def test_without_any_python_it_says_what_to_install(clone, tmp_path):
    for tool in ("sh", "cmp", "dirname", "readlink"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    done = inv(clone, "hello", path=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: no Python 3.10 or newer here"


def test_uv_is_used_where_it_is_on_the_machine(clone):
    done = inv(clone, "hello", path=WITH_UV)
    assert done.returncode == 0, done.stderr
    assert not list((clone / ".venv").glob("lib/python*/site-packages/pip")), "uv makes venvs without pip"


def test_a_failing_install_names_the_log_and_the_cure(clone):
    lock = clone / "gpulab/control.lock"
    lock.write_text(lock.read_text().split()[0] + " --hash=sha256:" + "0" * 64 + "\n")
    done = inv(clone, "hello")
    assert done.returncode == 2
    assert "error: installing failed" in done.stderr
    assert not (clone / ".venv/installed.lock").exists()


@pytest.mark.parametrize(
    ("words", "message", "cure"),
    [
        (["lbas"], "no verb 'lbas'", "did you mean lab"),
        (["lab"], "lab needs NAME: the lab's folder", "./inv --help lab"),
        (["lab", "quickstart", "--rehearsed"], "lab has no option '--rehearsed'", "did you mean --rehearse"),
        (["lab", "quickstart", "twice"], "lab takes no further word, 'twice' is one", "./inv --help lab"),
        (["compare"], "compare needs RUN and OTHERS", "./inv --help compare"),
        (["lab", "xyzzy"], "no lab 'xyzzy'", "./inv labs lists them"),
        (["lab", "quickstart", "--nodes", "0"], "--nodes 0: not a positive number", "leave --nodes out"),
        (["rehearse", "--jobs=0"], "--jobs 0: not a positive number", "leave --jobs out"),
        (["accept", "--limit", "gpu1"], "--limit gpu1: it chooses hosts of an inventory", "--hosts gpus.ini"),
        (["hosts", "--hosts", "/"], "/: a folder, not an inventory", "--hosts /gpus.ini"),
        (["lock", "cpuu"], "no stack 'cpuu'", "did you mean cpu"),
        (["lock", "--check", "cpuu"], "no stack 'cpuu'", "did you mean cpu"),
        (["runs", "--limit", "3", "quikstart"], "no lab 'quikstart'", "did you mean quickstart"),
        (["labs", "--lab", "tuners", "twice"], "labs takes no further word, 'twice' is one", "./inv --help labs"),
        (["labs", "quikstart"], "no lab 'quikstart'", "did you mean quickstart"),
        (["lab", "quikstart"], "no lab 'quikstart'", "did you mean quickstart"),
        (["lab", "quickstart", "--hub", "github"], "no hub 'github'", "modelscope, hf"),
        (["lab", "quickstart", "--set", "train.lr=1"], "knows no flag 'lr'", "did you mean"),
        (["lab", "quickstart", "--set", "serve.port=http"], "no such value of 'port'", "a whole number"),
        (["show", "nothing"], "no runs in ", "./inv lab quickstart"),
    ],
)
def test_wrong_usage_is_two_lines_and_exit_2(words, message, cure, tmp_path, monkeypatch):
    monkeypatch.setenv("GPULAB_RUNS", str(tmp_path / "none"))
    done = inv(ROOT, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert message in lines[0]
    assert cure in lines[1]
