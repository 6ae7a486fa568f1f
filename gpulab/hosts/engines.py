"""The hosts' Docker engines over ssh://, Docker's own transport, connected with the inventory's settings."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import tempfile
from pathlib import Path

from gpulab.docker import Docker
from gpulab.errors import UsageError
from gpulab.hosts.inventory import Host
from gpulab.hosts.ssh import options
from gpulab.paths import CACHE

KEPT_OPEN = 60  # seconds: a docker command opens several connections, the next ones cost no login


def engine_of(host: Host) -> Docker:
    """The host's engine.

    The docker command knows nothing of an inventory, so the `ssh` that it finds first on its PATH is one line that
    adds the host's address, user, key and known hosts. Raises UsageError where there is no ssh.
    """
    if host.local:
        return Docker()
    ssh = shutil.which("ssh")
    if not ssh:
        raise UsageError("no ssh on this machine", "apt-get install openssh-client")
    # a socket's path must be short
    socket = Path(tempfile.gettempdir()) / f"gpulab-ssh-{os.getuid()}"
    socket.mkdir(mode=0o700, exist_ok=True)
    shared = ["-o", "ControlMaster=auto", "-o", f"ControlPath={socket}/%C", "-o", f"ControlPersist={KEPT_OPEN}"]
    shared += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]  # a dead host shows within 15 s
    argv = [ssh, "-o", f"HostName={host.address}", *options(host), *shared]
    line = f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n'
    folder = CACHE / "ssh" / hashlib.sha256(line.encode()).hexdigest()[:12]
    if not (folder / "ssh").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".ssh-{os.getpid()}"
        draft.write_text(line, encoding="utf-8")
        draft.chmod(0o700)
        draft.replace(folder / "ssh")
    return Docker(f"ssh://{host.name}", folder)
