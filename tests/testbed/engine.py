"""A Docker engine of the testbed's own: own data root, own socket, no default bridge.

It never touches an engine that is already on the machine, and stops only what it started.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.testbed.paths import CACHE, RUNTIME, SOCKET, exclusive
from tests.wait import wait_until

PIDFILE = RUNTIME / "dockerd.pid"
LOG = CACHE / "dockerd.log"
DATA = CACHE / "engine"
TOOLS = ("dockerd", "mmdebstrap")
INOTIFY, ENOUGH_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances"), 1024


def lacking(what: str) -> str:
    """Why this machine has no engine for `what` ("real hosts need"); empty where it has."""
    tools = [tool for tool in TOOLS if not shutil.which(tool)]
    if not tools and os.geteuid() == 0:
        return ""
    return f"{what} root and {', '.join(tools) or 'its tools'}: see tests/testbed/packages.txt"


def docker(
    *argv: str, check: bool = True, input: str | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """One command of the Docker client against the testbed's engine."""
    done = subprocess.run(
        ["docker", "-H", f"unix://{SOCKET}", *argv], capture_output=True, text=True, input=input, timeout=timeout,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},  # BuildKit builds in no network but the engine's own
    )  # fmt: skip
    if check and done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def is_up() -> bool:
    return SOCKET.exists() and docker("version", check=False, timeout=20).returncode == 0


def has_hosts() -> bool:
    """Whether hosts of any testbed run on it."""
    return bool(docker("ps", "-q", "--filter", "label=testbed").stdout)


def start() -> None:
    """Start the engine unless it runs already."""
    with exclusive("engine"):
        _start()


def _start() -> None:
    # The hosts' systemd all count as one user's on the machine, and each wants some: 128 are too few for eight hosts.
    if int(INOTIFY.read_text()) < ENOUGH_INOTIFY:
        INOTIFY.write_text(str(ENOUGH_INOTIFY))
    if is_up():
        return
    RUNTIME.mkdir(parents=True, exist_ok=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        # No child of who asks for it: a test of Ctrl-C interrupts all of its own.
        subprocess.run(
            [
                "setsid", "--fork", "dockerd",
                "--data-root", str(DATA),
                "--exec-root", str(RUNTIME / "exec"),
                "--pidfile", str(PIDFILE),
                "--host", f"unix://{SOCKET}",
                "--bridge", "none",
                "--default-address-pool", "base=10.87.0.0/16,size=24",
                "--storage-driver", "overlay2",
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    wait_until(is_up, f"the testbed's engine (its log: {LOG})")


def stop() -> None:
    """Stop the engine; its images stay in the cache."""
    if not PIDFILE.exists():
        return
    docker("network", "prune", "--force", check=False)  # a bridge outlives its engine
    pid = int(PIDFILE.read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not PIDFILE.exists(), "the end of the testbed's engine")
