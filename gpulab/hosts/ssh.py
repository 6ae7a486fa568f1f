"""One question to many hosts at once, over ssh, connected as Ansible connects; each with a deadline."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from gpulab.common.diagnosis import diagnose, last_line
from gpulab.common.failure import Failure
from gpulab.common.paths import ROOT
from gpulab.hosts.inventory import Host
from gpulab.hosts.ssh_route import kept_open, options

SIDE_BY_SIDE = 128  # logins at a time: a thousand hosts that are off are known in 8 rounds of CONNECT_SECONDS


Login = Literal["own", "first", "kept"]


@dataclass(frozen=True)
class Answer:
    """What came back from a host; `problem` says in one line why nothing did, `cure` what helps."""

    stdout: str = ""
    problem: str = ""
    cure: str = ""

    def failure(self, host: str) -> Failure:
        """Why the host did not answer."""
        return Failure(self.problem, self.cure, host)


def command(host: Host, *argv: str, login: Login = "own") -> list[str]:
    """The command that runs `argv` on the host: ssh with the inventory's settings and ansible.cfg's."""
    if host.local:
        return [sys.executable if word == "python3" else word for word in argv]
    # A jump host's keys are in a list that ssh looks for from the project's folder.
    return [*_ssh(host, login), host.address, shlex.join(argv)]


def give_up_login(host: Host) -> None:
    """Nobody shares the login that was kept open: who comes next logs in anew, what runs over the old one goes on."""
    if not host.local:
        subprocess.run([*_ssh(host, "kept"), "-O", "stop", host.address], capture_output=True, check=False)


def _ssh(host: Host, login: Login) -> list[str]:
    return ["env", "-C", str(ROOT), "ssh", *options(host), *([] if login == "own" else kept_open())]


def forward(host: Host, port: int) -> list[str]:
    """The command that has a port of the host's loopback under the same number on this machine's, until it is ended."""
    words = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:127.0.0.1:{port}"]
    return ["env", "-C", str(ROOT), "ssh", *words, *options(host), host.address]


def ask(
    hosts: Sequence[Host],
    argv: Callable[[Host], Sequence[str]],
    stdin: str = "",
    deadline: float = 30,
    inventory: str = "",
    login: Login = "own",
) -> dict[str, Answer]:
    """Run `argv` on every host at once, fed with `stdin`; name -> Answer, in the order of `hosts`. It takes no longer
    than `deadline` for every SIDE_BY_SIDE hosts.

    A login of its `own` is the rule: one kept open from before a key changed would hide that. The `first` question of a
    run logs in anew, too, and the login is kept for what follows: for the next questions to ask over the one that is
    `kept`, and for the docker command (hosts/engines.py).
    """

    def one(host: Host) -> Answer:
        return _ask(host, argv(host), stdin, deadline, inventory, login)

    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        return dict(zip((h.name for h in hosts), pool.map(one, hosts), strict=True))


def _ask(host: Host, argv: Sequence[str], stdin: str, deadline: float, inventory: str, login: Login) -> Answer:
    if login == "first":
        give_up_login(host)
    try:
        done = subprocess.run(
            command(host, *argv, login=login), input=stdin, capture_output=True, text=True, errors="replace",
            timeout=deadline, cwd=ROOT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Answer(problem=f"no answer within {deadline:.0f} s", cure="is the host overloaded? try again")
    if done.returncode == 0:
        return Answer(stdout=done.stdout)
    return complaint(host, done.stderr or f"ended with {done.returncode}", inventory)


def complaint(host: Host, stderr: str, inventory: str = "") -> Answer:
    """What ssh complained about, in words that name the cure."""
    names = {"name": host.name, "address": host.address, "port": host.port, "user": host.user or "this user",
             "hosts": inventory or "gpus.ini"}  # fmt: skip
    known = diagnose(stderr, "ssh", **names)
    failure = known or Failure(last_line(stderr, "no answer"), f"ssh {host.address}")
    return Answer(problem=failure.message, cure=failure.cure)
