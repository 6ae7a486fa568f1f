"""How a machine is read: its files and what its programs say."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

# Where the kernel tells of them; the arguments may name other places.
PLACES = {"pci": "/sys/bus/pci/devices", "driver": "/sys/module/nvidia/version", "rdma": "/sys/class/infiniband"}


def read(path: Path | str, limit: int = 100_000) -> str:
    """A file's text without surrounding blanks, empty where it can't be read."""
    try:
        return Path(path).read_bytes()[:limit].decode(errors="replace").strip()
    except OSError:
        return ""


def said(*argv: str, seconds: float = 10, root: bool = False) -> tuple[int, str, str]:
    """(status, output, complaint) of a program; 127 where there is none."""
    if root and os.geteuid():
        argv = ("sudo", "-n", *argv)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    except OSError:
        return 127, "", f"no {argv[0]}"
    except subprocess.TimeoutExpired:
        return 124, "", f"{argv[0]} gave no answer within {seconds:.0f} s"
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def free_gib(path: str) -> float:
    """Free space of the file system that `path` is or would be on."""
    folder = Path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return round(shutil.disk_usage(folder).free / 2**30, 1)


def file_system(path: str) -> str:
    """The kind of file system below `path`: nfs, ext4 ..."""
    mounts = [row.split()[1:3] for row in read("/proc/mounts").splitlines()]
    below = [(len(point), kind) for point, kind in mounts if path == point or path.startswith(point.rstrip("/") + "/")]
    return max(below)[1] if below else ""
