"""A real sshd on a loopback port, and inventories written line by line."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.wait import wait_until

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


@dataclass
class Sshd:
    """An sshd of the test's own, its keys and known_hosts in one folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def start(self, host_key: str) -> None:
        """Serve with the host key of that name, made when it is new."""
        key = self.folder / host_key
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        options = ["PidFile=none", "StrictModes=no", "UsePAM=no", f"AuthorizedKeysFile={self.folder}/login.pub"]
        assert SSHD
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", "/dev/null", "-h", str(key), "-p", str(self.port), "-o", "ListenAddress=127.0.0.1",
             *(word for option in options for word in ("-o", option))],
            stderr=(self.folder / "sshd.log").open("ab"),
        )  # fmt: skip
        wait_until(self.answers, f"sshd ({(self.folder / 'sshd.log').read_text()})")

    def stop(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait(timeout=10)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def inventory(self, known_hosts: Path | None = None) -> Path:
        path = self.folder / "gpus.ini"
        options = f"-o UserKnownHostsFile={known_hosts or self.known_hosts}"
        path.write_text(
            f"[gpu]\nnear ansible_host=127.0.0.1 ansible_port={self.port} ansible_ssh_common_args='{options}' "
            f"ansible_ssh_private_key_file={self.folder}/login\n"
        )
        return path


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if not SSHD:
        pytest.skip("no sshd on this machine (apt-get install openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # root's sshd asks for it
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "login")], check=True)
    server = Sshd(tmp_path, free_port())
    server.start("first")
    yield server
    server.stop()


@pytest.fixture
def bastion(sshd: Sshd) -> Iterator[Sshd]:
    """Another one, whom the same key lets in."""
    server = Sshd(sshd.folder, free_port())
    server.start("bastion")
    yield server
    server.stop()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
