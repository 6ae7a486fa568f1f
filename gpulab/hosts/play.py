"""Carry out the site's playbook with ansible-runner: events to a recap, the full log to a file, Ctrl-C to Ansible."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ansible_runner import Runner, RunnerConfig

from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import CACHE, ROOT, shown
from gpulab.hosts.ansible import CONFIG, SITE, environment, program
from gpulab.hosts.inventory import Host
from gpulab.hosts.play_recap import HostRecap, PlayRecap
from gpulab.hosts.ssh import ask

REPORTS = ROOT / "reports"
LOGS = REPORTS / "ansible"
"""A folder of its own: the runner drops the oldest of whatever lies in it."""
GRACE_SECONDS = 20
"""How long Ansible has to end its workers after Ctrl-C before it is killed."""


@dataclass(frozen=True)
class Wish:
    """What of the site to carry out, and how."""

    hosts: str
    check: bool = False
    limit: str = ""
    tags: str = ""
    variables: tuple[str, ...] = ()
    become_password: str | None = None
    playbook: Path = SITE

    def arguments(self) -> list[str]:
        """The arguments of ansible-playbook. The password is no argument: it is typed when Ansible asks."""
        given = ["--inventory", str(Path(self.hosts).absolute())]
        given += ["--check", "--diff"] if self.check else []
        given += ["--limit", self.limit] if self.limit else []
        given += ["--tags", self.tags] if self.tags else []
        given += [word for variable in self.variables for word in ("--extra-vars", variable)]
        given += ["--ask-become-pass"] if self.become_password is not None else []
        return [*given, str(self.playbook)]


@dataclass(frozen=True)
class Played:
    """How it ended."""

    recap: PlayRecap
    status: int
    seconds: float
    log: Path
    interrupted: bool

    def trouble(self) -> list[str]:
        """The hosts' failures; where Ansible itself failed, its last words."""
        if self.interrupted:
            return ["interrupted"]
        found = self.recap.failures()
        if found or self.status == 0:
            return found
        lines = [line.strip() for line in self.log.read_text(encoding="utf-8").splitlines() if "ERROR" in line]
        return lines[:1] or [f"ansible-playbook ended with {self.status}"]


def play(wish: Wish, hosts: Sequence[Host], name: str, watch: Callable[[PlayRecap], None]) -> Played:
    """Carry out `wish` on `hosts`; `watch` sees the recap after every event.

    Raises UsageError where there is no playbook, ansible.cfg or setpriv.
    """
    for needed in (wish.playbook, CONFIG):  # without its configuration Ansible would silently use defaults
        if not needed.is_file():
            raise UsageError(f"no {shown(needed)}", "git checkout it: this is no complete checkout")
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise UsageError("no setpriv on this machine", "apt-get install -y util-linux")
    recap = PlayRecap({host.name: HostRecap() for host in hosts})
    ident = f"{name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"

    def take(event: dict[str, Any]) -> bool:
        recap.take(event)
        watch(recap)
        return False  # no file per event: the recap and the log are enough

    def forget_environment(status: dict[str, Any], runner_config: Any) -> None:
        # The runner writes down the whole environment, tokens and all, beside the log.
        if status["status"] == "running":
            (Path(runner_config.artifact_dir) / "command").unlink(missing_ok=True)

    config = RunnerConfig(
        private_data_dir=str(CACHE / "ansible"), artifact_dir=str(LOGS), ident=ident, rotate_artifacts=50,
        playbook=str(wish.playbook), envvars=environment(), suppress_env_files=True,
        settings={"pexpect_timeout": 1, "suppress_ansible_output": True}, quiet=True,
        passwords={r"BECOME password.*:\s*?$": wish.become_password} if wish.become_password is not None else None,
    )  # fmt: skip
    (CACHE / "ansible").mkdir(parents=True, exist_ok=True)
    config.prepare()
    config.cwd = str(ROOT)  # ansible.cfg's and the inventory's paths are seen from here, as with plain ansible-playbook
    # Killed without a chance to say so, it takes Ansible along: two at once would fight over the packages.
    config.command = [setpriv, "--pdeathsig", "TERM", program("ansible-playbook"), *wish.arguments()]
    began = time.monotonic()
    with stopping() as (stopped, overdue):
        runner = Runner(
            config, event_handler=take, status_handler=forget_environment, cancel_callback=overdue
        )  # fmt: skip
        runner.run()
    # Ansible's words depend on its plugins; ssh itself says why a host can't be reached.
    lost = [host for host in hosts if recap.hosts[host.name].state == "unreachable"]
    for name, answer in ask(lost, lambda _: ["python3", "-c", ""], deadline=20, inventory=wish.hosts).items():
        if answer.problem:
            recap.hosts[name].message = str(answer.failure(""))
    if stopped.is_set():
        recap.interrupt()
    log = Path(config.artifact_dir) / "stdout"
    return Played(recap, int(runner.rc or 0), round(time.monotonic() - began, 1), log, stopped.is_set())


@contextmanager
def stopping() -> Iterator[tuple[threading.Event, Callable[[], bool]]]:
    """Hand Ctrl-C and SIGTERM on to Ansible, which ends its workers and their ssh.

    Gives whether that happened, and a function that says when to kill what is still there: after the grace, or at the
    second Ctrl-C.
    """
    stopped, deadline, started = threading.Event(), [float("inf")], list[psutil.Process]()

    def on_signal(_number: int, _frame: Any) -> None:
        deadline[0] = 0.0 if stopped.is_set() else time.monotonic() + GRACE_SECONDS
        stopped.set()
        started.extend(psutil.Process().children(recursive=True))
        for child in psutil.Process().children():
            child.send_signal(signal.SIGINT)

    def overdue() -> bool:
        if time.monotonic() < deadline[0]:
            return False
        for child in psutil.Process().children(recursive=True):
            child.kill()
        return True

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped, overdue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for left in started:  # what a worker's end left behind: ssh, a module on this machine
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        psutil.wait_procs(started, timeout=5)


def check_tags(tags: str) -> None:
    """Raise UsageError for a tag that no playbook has: Ansible would do nothing and say that all is well."""
    playbooks = "".join(path.read_text(encoding="utf-8") for path in SITE.parent.glob("*.yml"))
    known = {tag.strip() for found in re.findall(r"tags: \[(.*?)\]", playbooks) for tag in found.split(",")}
    for tag in filter(None, tags.split(",")):
        if tag not in known:
            raise UsageError(f"--tags {tag}: no role has it", nearest(tag, sorted(known)))
