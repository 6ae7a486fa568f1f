"""The host on which jobs are submitted, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence

from gpulab.common.errors import UsageError
from gpulab.hosts.inventory import Host
from gpulab.hosts.ssh import ask


def login_host(hosts: Sequence[Host]) -> Host:
    """The first host of the group login, else the controller. Raises UsageError where there is neither."""
    for group in ("login", "controller"):
        if found := [host for host in hosts if group in host.groups]:
            return found[0] if group == "login" else min(found, key=lambda host: host.name)
    raise UsageError("the inventory names no host of Slurm", "put one into [controller], then ./inv provision")


def ask_login(login: Host, argv: Sequence[str], stdin: str = "", deadline: float = 30) -> str:
    """What a command answers there. Raises UsageError with Slurm's own last words where it fails."""
    answer = ask([login], lambda _: list(argv), stdin=stdin, deadline=deadline)[login.name]
    if answer.problem:
        cure = answer.cure if not answer.cure.startswith("ssh ") else "see docs/slurm.md, what goes wrong"
        raise UsageError(f"{login.name}: {answer.problem}", cure)
    return answer.stdout.strip()
