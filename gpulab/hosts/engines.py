"""The hosts' Docker engines over ssh://, Docker's own transport, connected with the inventory's settings."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.paths import CACHE, ROOT
from gpulab.hosts.inventory import Host
from gpulab.hosts.ssh import ask, complaint, give_up_login
from gpulab.hosts.ssh_route import kept_open, options

REFUSED = re.compile("permission denied|cannot connect|error during connect", re.IGNORECASE)


@dataclass(frozen=True)
class HostDocker(Docker):
    """A host's engine over ssh. Docker says little more than that it cannot connect: then the host is asked why."""

    of: Host = field(kw_only=True)

    def try_run(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """As Docker's. A login that was kept open from before its user was let in knows nothing of the new group: it is
        given up, and the command tried once more."""
        done = super().try_run(*words, timeout=timeout)
        if done.returncode and REFUSED.search(done.stderr) and "exit status 255" not in done.stderr:
            # What runs over the old login goes on; who comes now logs in anew.
            give_up_login(self.of)
            done = super().try_run(*words, timeout=timeout)
        return done

    def complaint(self, said: str) -> UsageError:
        """As Docker's, with ssh's own trouble told apart."""
        if "exit status 255" in said:  # ssh's
            answer = complaint(self.of, said)
            return UsageError(f"{self.at}: {answer.problem}", answer.cure)
        if "Cannot connect" not in said and "error during connect" not in said:
            return super().complaint(said)
        asked = ask([self.of], lambda _: ["docker", "version", "--format", "{{.Server.Version}}"])[self.of.name]
        if asked.problem and asked.cure != f"ssh {self.of.address}":  # what ssh says is known, with a cure of its own
            return UsageError(f"{self.at}: {asked.problem}", asked.cure)
        if "not found" in asked.problem:
            return UsageError(f"{self.at} has no docker", "./inv provision, or install it there")
        return super().complaint(asked.problem or said)


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
    argv = [ssh, "-o", f"HostName={host.address}", *options(host), *kept_open()]
    line = f'#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.join(argv)} "$@"\n'
    folder = CACHE / "ssh" / hashlib.sha256(line.encode()).hexdigest()[:12]
    if not (folder / "ssh").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".ssh-{os.getpid()}"
        draft.write_text(line, encoding="utf-8")
        draft.chmod(0o700)
        draft.replace(folder / "ssh")
    return HostDocker(f"ssh://{host.name}", folder, of=host)
