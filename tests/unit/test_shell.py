"""`inv shell`: what is started in this terminal, in a venv, a container or on a host, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.engines.foreground import in_foreground
from gpulab.engines.local import LocalBackend
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.inventory import Host
from gpulab.plan.machine import Gpu, Machine
from gpulab.records.writer import RunFolder
from gpulab.runs import shell
from gpulab.runs.recover import sweep
from gpulab.runs.shell import open_shell
from gpulab.verbs.command_line import asking_help, behind

# An engine that has every image. It writes down what it is asked; `run` of a shell ends as its test says, and so does
# `create`, which claims.
ENGINE = """\
#!/bin/sh
printf '%s\\n' "$*" >> {folder}/asked
case "$1 $2" in
  "info --format") echo '{{"ServerVersion": "28", "Architecture": "x86_64"}}' ;;
  "image inspect") echo '{image}' ;;
  "run --interactive") case "$3" in --name) exit {status} ;; *) cat > {folder}/sent ;; esac ;;
  "create --name") {create} ;;
  "inspect --format") case "$3" in *Error*) echo '{error}' ;; *) echo '{held}' ;; esac ;;
esac
"""
OPENS = "run --interactive --name"  # a shell
IMAGE = {
    "Id": "sha256:1", "Os": "linux", "Architecture": "amd64", "Created": "2026", "RootFS": {"Layers": []}, "Config": {},
}  # fmt: skip
HELD = {"gpulab.run": "/elsewhere/runs/train-x/20261127T101112Z", "gpulab.by": "alice@laptop"}
TAKEN = 'echo "Conflict: the name is already in use" >&2; exit 1'


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """engine(create=..., ...) puts the stand-in on PATH; then it returns what it was asked, a line a call."""
    monkeypatch.setenv("GPULAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)

    def put(create: str = "true", status: int = 5, error: str = "", held: str = "") -> list[str]:
        asked = tmp_path / "asked"
        if not (tmp_path / "docker").exists():
            told = {"image": json.dumps(IMAGE), "held": held or json.dumps(HELD), "status": status, "error": error}
            (tmp_path / "docker").write_text(ENGINE.format(folder=tmp_path, create=create, **told))
            (tmp_path / "docker").chmod(0o755)
        return asked.read_text().splitlines() if asked.exists() else []

    return put


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComputeNode:
    """A host of two GPUs, whose engine is this machine's."""
    gpus = [Gpu("H100", 80, 80, "a"), Gpu("H100", 80, 80, "b")]
    machine = Machine("gpu1", "Debian", "a CPU", 8, 64.0, "3.12", gpus)
    of = Host("gpu1", "127.0.0.1", variables={"ansible_connection": "local"})
    told = {"HF_HOME": "/srv/gpulab/models/hf"}
    node = ComputeNode(of, machine, "1007:2000", tmp_path / "srv", told, 100.0, 64, "eth0", "127.0.0.1", False, 0.0)
    monkeypatch.setattr(shell, "compute_nodes_for", lambda *_: [node])
    return node


def run_line(asked: list[str]) -> str:
    """The one call that opened the shell."""
    (line,) = [line for line in asked if line.startswith(OPENS)]
    return line


def test_the_words_behind_two_dashes_are_the_commands_own():
    words = ["inv", "shell", "cpu", "--", "swift", "sft", "--help", "--json"]
    assert behind(words) == ["swift", "sft", "--help", "--json"]
    assert asking_help(words[1:], ["shell"]) == words[1:], "it is swift's help that is asked for"
    assert asking_help(["shell", "cpu", "--help"], ["shell"]) == ["--help", "shell"]


@pytest.mark.parametrize(
    ("given", "message", "cure"),
    [
        ({"stack": "cpuu"}, "no stack 'cpuu'", "did you mean cpu"),
        ({"stack": "cpu", "gpus": 1}, "uses no GPU", "leave --gpus out"),
        ({"stack": "cpu", "engine": "slurm"}, "no engine 'slurm' for a shell", "docker, local"),
        ({"stack": "train", "gpus": -1}, "--gpus -1", "--gpus 8"),
        ({"stack": "train", "gpus": 999}, "--gpus 999: .* has 0", "other hosts"),
        ({"stack": "flash"}, "flash is not installed here", "./inv stacks --install flash"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_the_cure(given, message, cure):
    with pytest.raises(UsageError, match=message) as refused:
        open_shell(**{"engine": "", "hosts": "", "limit": "", "gpus": 0, "command": ["true"], **given})
    assert cure in refused.value.cure


def test_without_a_terminal_a_command_is_asked_for(monkeypatch):
    monkeypatch.setattr(os, "isatty", lambda _: False)
    with pytest.raises(UsageError, match="needs a terminal") as refused:
        open_shell("cpu", "", "", "", 0)
    assert "./inv shell cpu -- " in refused.value.cure


def test_a_container_is_the_callers_in_his_folder_and_its_exit_status_is_passed_on(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine()
    done = open_shell("cpu", "docker", "", "", 0, ["python", "-c", "import swift"])
    assert done.code == 5
    line = run_line(engine())
    for words in (
        f"--user {os.getuid()}:{os.getgid()}", "--cap-drop ALL", f"--volume {tmp_path}:{tmp_path} ",
        f"--workdir {tmp_path} ", "--env HF_HUB_OFFLINE=1", "--env GPULAB_STACK=cpu",
    ):  # fmt: skip
        assert words in line, words
    assert line.endswith("python -c import swift")
    assert " --tty" not in line and "--device" not in line and "--gpus" not in line
    assert [p for p in (tmp_path / "runs").rglob("*") if p.is_file()] == [], "nothing is left of it"


def test_on_a_host_the_gpus_are_claimed_for_as_long_as_it_is_open(engine, host, tmp_path):
    engine()
    assert open_shell("train", "", "gpus.ini", "gpu1", 1, ["nvidia-smi"]).code == 5
    asked = engine()
    line = run_line(asked)
    for words in (
        "--gpus all", "--env CUDA_VISIBLE_DEVICES=0", "--user 1007:2000", f"--workdir {host.shared}",
        "--env HF_HOME=/srv/gpulab/models/hf", f"--volume {host.shared}:{host.shared}",
    ):  # fmt: skip
        assert words in line, words
    claimed = next(n for n, call in enumerate(asked) if call.startswith("create --name gpulab-claim"))
    given_up = [n for n, call in enumerate(asked) if call.startswith("ps --all --quiet --filter label=gpulab.run=")]
    assert claimed < asked.index(line) < given_up[-1]
    assert "--label gpulab.by=" in asked[claimed]
    assert any("rm -r" in call for call in asked[given_up[-1] :]), "its folder on the host is removed"


def test_a_host_that_another_uses_opens_no_shell_and_says_whose_it_is(engine, host):
    engine(create=TAKEN)
    with pytest.raises(UsageError, match="gpu1 is in use by the run train-x/20261127T101112Z of alice@laptop"):
        open_shell("train", "", "gpus.ini", "gpu1", 0, ["true"])
    assert not [line for line in engine() if line.startswith(OPENS)]


def test_a_host_that_serves_says_which_service_has_it_and_who_stops_it(engine, host):
    engine(create=TAKEN, held=json.dumps({"gpulab.run": "/elsewhere/runs/.services/mine"}))
    with pytest.raises(UsageError, match="in use by the service mine ") as told:
        open_shell("train", "", "gpus.ini", "gpu1", 0, ["true"])
    assert told.value.failures[0].cure.startswith("`./inv stop mine` by its owner, take other hosts")


def test_a_container_that_the_engine_cannot_start_is_told_with_the_cure(engine, host):
    engine(status=125, error='could not select device driver "" with capabilities: [[gpu]]')
    with pytest.raises(UsageError, match="the engine of this machine knows no GPUs") as told:
        open_shell("train", "", "gpus.ini", "gpu1", 1, ["nvidia-smi"])
    assert "./inv provision" in told.value.cure


def test_a_program_that_ends_with_dockers_own_status_is_no_failure_of_dockers(engine, host):
    engine(status=125)
    assert open_shell("train", "", "gpus.ini", "gpu1", 1, ["false"]).code == 125


def test_what_a_killed_inv_left_of_a_shell_is_removed_by_the_next(engine, monkeypatch):
    engine()
    spec = shell.workplace("cpu", "docker", "", "", 0)
    taken: list[RunFolder] = []

    def killed(plan, command):
        taken[0]._lock.release()  # as the kernel does it for a process that is gone
        (line,) = sweep()
        assert f"{plan.run.parent.name}/{plan.run.name}: its inv was killed" in line
        assert f"ps --all --quiet --filter label=gpulab.run={plan.run}" in engine()
        return 0

    make = RunFolder.make
    monkeypatch.setattr(shell.RunFolder, "make", lambda slug: taken.append(make(slug)) or taken[0])
    monkeypatch.setattr(spec.engine, "foreground", killed)
    assert shell.carry_out(spec, ["true"]) == 0


@pytest.mark.parametrize(("code", "status"), [("exit 7", 7), ("kill -KILL $$", 137)])
def test_a_status_is_told_as_shells_tell_it(code, status):
    assert in_foreground(["sh", "-c", code], dict(os.environ), ROOT) == status


def test_ctrl_c_is_for_the_program_and_sigterm_is_passed_on(tmp_path):
    """A process of its own: its signals are those of a terminal, which all in front of it hear."""
    heard = "trap 'echo heard' INT; trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done"
    program = (
        "import os, pathlib, sys; from gpulab.engines.foreground import in_foreground;"
        f"sys.exit(in_foreground(['sh', '-c', {heard!r}], dict(os.environ), pathlib.Path('/')))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "heard\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 9
    watchdog.cancel()


def test_the_local_venv_is_first_on_path_and_the_terminal_is_the_commands(tmp_path, monkeypatch, capfd):
    """A stack that is installed: its folder holds one program."""
    monkeypatch.chdir(tmp_path)
    spec = shell.workplace("cpu", "local", "", "", 0)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "here").write_text('#!/bin/sh\necho "$GPULAB_STACK $HF_HUB_OFFLINE $PWD"; exit 3\n')
    (bin_ / "here").chmod(0o755)
    monkeypatch.setattr(type(spec.stack), "bin", bin_)
    monkeypatch.setattr(type(spec.stack), "installed", True)
    assert isinstance(spec.engine, LocalBackend)
    assert shell.carry_out(spec, ["here"]) == 3
    assert capfd.readouterr().out == f"cpu 1 {tmp_path}\n"
