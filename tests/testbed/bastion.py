"""Hosts that let in nobody who does not come from the bed's first, as people write that in an inventory."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from tests.testbed.bed import Testbed
from tests.wait import wait_until


@contextmanager
def bastion(bed: Testbed, hosts: Sequence[str], inventory: Path) -> Iterator[None]:
    """Rewrite the inventory: the first host is reached directly, the second through it by -J, others by ProxyCommand.

    The project's own list of keys is what counts then. The login's key is held by an agent: what a jump host is asked
    with stands in no inventory.
    """
    first, *behind = hosts
    address = bed.addresses[first]
    proxy = f'-o ProxyCommand="ssh -o UserKnownHostsFile={bed.known_hosts} -W %h:%p lab@{address}"'
    ways = dict(zip(behind, [f"-J lab@{address}", *[proxy] * len(behind)], strict=False))
    lines = [line for line in inventory.read_text().splitlines() if "common_args" not in line]
    for name, words in ways.items():
        lines = [f"{line} ansible_ssh_common_args='{words}'" if line.startswith(f"{name} ") else line for line in lines]
    inventory.write_text("\n".join(lines))
    anew = "systemctl restart ssh"  # one that a socket started loses it by a reload
    refuse = f"echo 'AllowUsers *@{address}' > /etc/ssh/sshd_config.d/60-bastion.conf; {anew}"
    undo = f"rm --force /etc/ssh/sshd_config.d/60-bastion.conf; {anew}"
    with bed.planted(refuse, undo, *behind), agent(inventory.parent / "agent", bed.key):
        yield


@contextmanager
def agent(socket: Path, key: Path) -> Iterator[None]:
    """An ssh-agent that holds a key, for all that is started meanwhile."""
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        with mock.patch.dict(os.environ, SSH_AUTH_SOCK=str(socket)):
            wait_until(socket.exists, "the agent")
            subprocess.run(["ssh-add", "-q", key], check=True)
            yield
    finally:
        process.terminate()
        process.wait()
