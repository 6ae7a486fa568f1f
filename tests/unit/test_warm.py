"""Forks of one process in the place of ms-swift's commands: the same output, status and environment, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from gpulab.common.processes import MARK, belonging, stop
from gpulab.engines.warm import Warm, imports, worth_waiting
from gpulab.lab.step import Ready
from gpulab.plan.plan import TOOLS, Command
from tests.wait import wait_until

HANDLER = "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler"
# ms-swift in small: the command starts a second Python for its own file, which does what its first word says.
FILES = {
    "swift/__init__.py": """
import os
READ = os.environ.get('READ_EARLY')
os.environ.get('LOCAL_RANK')
os.environ['SET_BY_IMPORT'] = 'yes'
""",
    "swift/cli/__init__.py": "",
    "swift/cli/main.py": """
import os, subprocess, sys
def cli_main():
    print("run sh", flush=True)
    done = subprocess.run([sys.executable, os.path.join(os.path.dirname(__file__), sys.argv[1] + ".py"), *sys.argv[2:]])
    if done.returncode: sys.exit(done.returncode)
""",
    "swift/cli/sft.py": """
import os, sys, signal, swift
if __name__ == "__main__":
    print(sys.argv[1:], os.getcwd(), os.environ["OWN"], os.environ["SET_BY_IMPORT"], swift.READ, sys.stdin.read())
    print(os.path.basename(sys.path[0]), __file__ == sys.argv[0], os.getsid(0) == os.getppid(), file=sys.stderr)
    exec(sys.argv[1])
""",
    "swift/pipelines.py": "deploy_main = export_main = infer_main = pretrain_main = rlhf_main = sft_main = 1\n",
    f"{HANDLER.replace('.', '/')}.py": "from subprocess import Popen\n",
}
# A launcher in small: it starts the rank that its words are.
TORCHRUN = f"""
import os, sys, {HANDLER} as handler
env = {{**os.environ, "LOCAL_RANK": "0"}}
rank = handler.Popen(args=tuple(sys.argv[1:]), env=env, stdout=None, stderr=None)
sys.exit(rank.wait())
"""
SWIFT = "from swift.cli.main import cli_main\nimport sys\nsys.exit(cli_main())\n"


@pytest.fixture
def stack(tmp_path: Path) -> Any:
    """A stack with that in it."""
    for name, text in FILES.items():
        file = tmp_path / "lib" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    made = SimpleNamespace(bin=tmp_path / "small/bin", venv=tmp_path / "small")
    made.bin.mkdir(parents=True)
    (made.bin / "python").symlink_to(sys.executable)
    for name, text in (("swift", SWIFT), ("torchrun", TORCHRUN)):
        (made.bin / name).write_text(f"#!{made.bin}/python\n{text}")
        (made.bin / name).chmod(0o755)
    (tmp_path / "logs").mkdir()
    return made


@pytest.fixture
def env(tmp_path: Path, stack: Any) -> dict[str, str]:
    """The environment of its commands."""
    return {"PATH": f"{stack.bin}:/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "lib"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def warm(stack: Any, env: dict[str, str]) -> Iterator[Warm]:
    made = Warm(stack, env)
    yield made
    made.end()


def command(tmp_path: Path, *words: str) -> Command:
    return Command("work", ("swift", "sft", *words), tmp_path, tmp_path / "work", {})


@pytest.mark.parametrize(
    "does", ["pass", "sys.exit(3)", "1 / 0", "sys.exit('a reason')", "os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_a_fork_says_and_ends_what_the_command_does(tmp_path, warm, env, does):
    own = {**env, "OWN": "mine", MARK: str(tmp_path)}
    asked, log = command(tmp_path, does, "--flag"), tmp_path / "logs/work.log"
    plain = subprocess.run(asked.argv, cwd=asked.cwd, env=own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, check=False, start_new_session=True)  # fmt: skip
    forked = warm.fork(asked, own, log)
    assert forked is not None
    assert forked.wait(60) == plain.returncode == forked.poll()
    said = log.read_text().replace("cli True False", "cli True True")  # `swift` starts another below it, a fork is it
    assert said.splitlines()[:3] == plain.stdout.splitlines()[:3]
    assert said.splitlines()[-1] == plain.stdout.splitlines()[-1]


def test_a_fork_does_all_that_is_due_at_its_end_and_leaves_its_modules_standing(tmp_path, warm, env):
    does = """import atexit, threading, time
atexit.register(print, "at exit")
threading.Timer(0.2, print, ["the last thread"]).start()
sys.left_open = open("left", "w"); sys.left_open.write("kept")
sys.stays = type("Stays", (), {"__del__": lambda self, write=os.write: write(1, b"taken down")})()"""
    (tmp_path / "plain").mkdir()
    own = {**env, "OWN": "mine"}
    asked, log = command(tmp_path, does), tmp_path / "logs/work.log"
    plain = subprocess.run(asked.argv, cwd=tmp_path / "plain", env=own, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, check=True)  # fmt: skip
    forked = warm.fork(asked, own, log)
    assert forked is not None and forked.wait(60) == 0
    assert plain.stdout.splitlines()[-3:] == ["the last thread", "at exit", "taken down"]
    assert log.read_text().splitlines()[-2:] == ["the last thread", "at exit"]
    assert (tmp_path / "left").read_text() == (tmp_path / "plain/left").read_text() == "kept"


def test_steps_of_several_nodes_are_forked_side_by_side(tmp_path, warm, env):
    own = {**env, "OWN": "mine"}
    with ThreadPoolExecutor(2) as pool:
        begun = [
            pool.submit(warm.fork, command(tmp_path, "pass"), own, tmp_path / f"logs/{rank}.log") for rank in range(2)
        ]
    assert [forked.wait(60) for forked in (future.result() for future in begun) if forked] == [0, 0]


def test_what_is_read_while_importing_needs_a_process_of_its_own(tmp_path, warm, env):
    log = tmp_path / "logs/work.log"
    own = {**env, "OWN": "mine"}
    assert warm.fork(command(tmp_path, "pass"), {**own, "READ_EARLY": "other"}, log) is None
    assert warm.fork(command(tmp_path, "pass"), {**own, "OMP_NUM_THREADS": "7"}, log) is None
    later = warm.fork(command(tmp_path, "pass"), {**own, "READ_LATER": "other"}, log)
    assert later is not None and later.wait(60) == 0
    told_by_a_launcher = {"SET_BY_IMPORT": "yes", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "none"}
    rank = warm.fork(command(tmp_path, "pass"), own | told_by_a_launcher, log)
    assert rank is not None and rank.wait(60) == 0, "a rank is a fork, too"


def test_the_ranks_of_torchrun_on_a_labs_own_line_are_forks_too(tmp_path, warm, env):
    does = "print('imported before:', 'swift.pipelines' in sys.modules); sys.exit(5)"
    asked, log = (
        Command("work", ("torchrun", "swift", "sft", does), tmp_path, tmp_path / "work", {}),
        tmp_path / "logs/work.log",
    )
    assert imports(asked) == "swift"
    forked = warm.fork(asked, {**env, "OWN": "mine"}, log)
    assert forked is not None and forked.wait(60) == 5
    assert "imported before: True" in log.read_text()


def test_another_stacks_program_needs_a_process_of_its_own(tmp_path, warm, env, stack):
    other = tmp_path / "other/bin"
    other.mkdir(parents=True)
    (other / "swift").symlink_to(stack.bin / "swift")
    path = f"{other}:{env['PATH']}"
    assert warm.fork(command(tmp_path, "pass"), {**env, "PATH": path}, tmp_path / "logs/work.log") is None


def test_a_fork_belongs_to_its_run_and_can_be_stopped(tmp_path, warm, env):
    run = tmp_path / "runs/one"
    (run / "logs").mkdir(parents=True)
    (run / "logs/work.log").touch()  # the engine has it there
    below = "import time; os.fork(); print('up', flush=True); time.sleep(600)"
    forked = warm.fork(command(tmp_path, below), {**env, "OWN": "mine", MARK: str(run)}, run / "logs/work.log")
    assert forked is not None
    wait_until(lambda: (run / "logs/work.log").read_text().splitlines().count("up") == 2, "both run", 20)
    assert forked.pid in {p.pid for p in belonging(run)} and len(belonging(run)) >= 2
    stop(belonging(run))
    assert not belonging(run)
    assert forked.wait(20) == 256 - signal.SIGTERM


def test_it_ends_with_its_inv_also_when_that_is_killed(tmp_path, stack, env):
    code = (
        "import sys, types, pathlib; from gpulab.engines.warm import Warm\n"
        "stack = types.SimpleNamespace(bin=pathlib.Path(sys.argv[1]) / 'bin', venv=pathlib.Path(sys.argv[1]))\n"
        f"warm = Warm(stack, {env!r}); print(warm._process.pid, warm._address, flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(stack.venv)]
    inv = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOOLS.parents[1])
    pid, address = inv.stdout.readline().split()
    inv.kill()
    inv.communicate()
    wait_until(lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie", "it ends", 20)
    assert not Path(address).parent.exists()


def test_where_it_is_gone_a_step_is_a_process_of_its_own(tmp_path, warm, env):
    warm.end()
    assert warm.fork(command(tmp_path, "pass"), env, tmp_path / "logs/work.log") is None


def test_several_labs_share_one(tmp_path, warm, env, stack, monkeypatch):
    for name, value in warm.shared.items():
        monkeypatch.setenv(name, value)
    second = Warm(stack, env)
    forked = second.fork(command(tmp_path, "pass"), {**env, "OWN": "mine"}, tmp_path / "logs/work.log")
    assert forked is not None and forked.wait(60) == 0
    second.end()
    third = warm.fork(command(tmp_path, "pass"), {**env, "OWN": "mine"}, tmp_path / "logs/work.log")
    assert third is not None and third.wait(60) == 0, "who shares it does not end it"
    for other in (Warm(SimpleNamespace(bin=stack.bin, venv=tmp_path / "another"), env), Warm(stack, env, "megatron")):
        assert other._process is not None, "not that of another stack, nor another program's"
        other.end()


def test_which_steps_are_forked(tmp_path):
    folder = (tmp_path, tmp_path / "out", os.environ)
    assert imports(Command("a", ("swift", "sft", "train.yaml"), *folder)) == "swift"
    assert imports(Command("a", ("swift", "deploy"), *folder, ready=Ready(chat="m"), port=8000)) == "swift"
    assert imports(Command("a", ("megatron", "sft"), *folder, world=2, rank=0)) == "megatron"
    assert imports(Command("a", ("python", str(TOOLS / "twins"), "qwen3"), *folder)) == "swift"
    assert not imports(Command("a", ("python", "chat.py"), *folder)), "it needs no ms-swift"
    assert not imports(Command("a", ("python", "-c", "pass"), *folder))


def test_what_is_not_made_yet_waits_for_the_imports_and_what_is_made_does_not(tmp_path):
    folder = (tmp_path, tmp_path / "out", os.environ)
    twin = Command("twin", ("python", str(TOOLS / "twins"), "qwen3", str(tmp_path / "Qwen3-0.6B")), *folder)
    assert worth_waiting(Command("a", ("swift", "sft", "train.yaml"), *folder))
    assert worth_waiting(twin)
    (tmp_path / "Qwen3-0.6B").mkdir()
    assert not worth_waiting(twin)
    assert not worth_waiting(Command("a", ("python", str(TOOLS / "deploy.py"), "x", "y"), *folder))
