"""The stand-in repository served by a process of its own, for a testbed that outlives the command that made it.

python -m tests.testbed.standin.serving FOLDER ADDRESS prints the URL, then serves until it is stopped.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.testbed.paths import REPO
from tests.testbed.standin.repository import Repository


def start(directory: Path, address: str) -> tuple[str, Repository]:
    stop(directory)
    repository = Repository.standard(directory / "repository")
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.testbed.standin.serving", str(repository.folder), address],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    (directory / "repository.pid").write_text(str(server.pid))
    return url, repository


def stop(directory: Path) -> None:
    pidfile = directory / "repository.pid"
    if not pidfile.exists():
        return
    pid = int(pidfile.read_text())
    # The number may belong to another process by now.
    command = Path(f"/proc/{pid}/cmdline")
    if command.exists() and b"tests.testbed.standin.serving" in command.read_bytes():
        os.kill(pid, signal.SIGTERM)
    pidfile.unlink()


if __name__ == "__main__":
    with Repository(Path(sys.argv[1])).serve(sys.argv[2]) as address:
        print(address, flush=True)
        signal.pause()
