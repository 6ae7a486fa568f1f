"""The engine, NVIDIA's toolkit and its lists of devices."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from gpulab.inside.machine.reading import free_gib, read, said


def containers() -> dict[str, Any]:
    """The engine, NVIDIA's toolkit, its CDI lists and the CUDA releases of the images."""
    status, info, complaint = said("docker", "info", "--format", "{{json .}}")
    if "permission denied" in info + complaint:  # not in the group docker: it takes root
        status, info, complaint = said("docker", "info", "--format", "{{json .}}", root=True)
        if "password" in complaint:
            raise PermissionError(complaint)
    about: dict[str, Any] = {}
    if status == 0:
        with contextlib.suppress(ValueError):
            about = json.loads(info)
    lists = []
    for path in [p for folder in ("/etc/cdi", "/var/run/cdi") for p in sorted(Path(folder).glob("nvidia*"))]:
        driver = re.search(
            r"lib(?:cuda|nvidia-ml)\.so\.(\d+[\d.]*\d)|driver[_ ]?version\D+(\d+[\d.]*\d)", read(path, 10**6)
        )
        named = {
            "driver": (driver[1] or driver[2]) if driver else "",
            "devices": len(re.findall(r"/dev/nvidia\d+\b", read(path))),
        }
        lists.append({"path": str(path), **named})
    return {
        "installed": bool(shutil.which("docker")),
        "complaint": "" if about.get("ServerVersion") else (complaint or "; ".join(about.get("ServerErrors") or [])),
        "engine": about.get("ServerVersion", ""),
        "cgroup_driver": about.get("CgroupDriver", ""),
        "cgroup_version": about.get("CgroupVersion", ""),
        "storage_driver": about.get("Driver", ""),
        "live_restore": about.get("LiveRestoreEnabled", False),
        "runtimes": sorted(about.get("Runtimes") or {}),
        "data_root_free_gib": free_gib(about.get("DockerRootDir") or "/var/lib/docker"),
        "toolkit": toolkit(),
        "device_links": device_links(),
        "cdi": lists,
        "cuda_images": cuda_images() if about.get("ServerVersion") else {},
    }


def device_links() -> int:
    """How many GPUs systemd knows by a link: without it, they are lost to containers when it reloads."""
    numbers = [device.stat().st_rdev for device in Path("/dev").glob("nvidia[0-9]*")]
    return sum(Path(f"/dev/char/{os.major(n)}:{os.minor(n)}").exists() for n in numbers)


def toolkit() -> str:
    """What NVIDIA's toolkit calls itself, empty where there is none."""
    status, told, _ = said("nvidia-ctk", "--version")
    return "" if status == 127 else (told.splitlines() or ["of unknown version"])[0]


def cuda_images() -> dict[str, str]:
    """Each image that states its CUDA release, with it."""
    _, listed, _ = said("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", root=True)
    names = [name for name in listed.splitlines() if "<none>" not in name]
    _, told, _ = said("docker", "image", "inspect", "--format", "{{json .Config.Env}}", *names, root=True)
    stated = [re.search(r'"CUDA_VERSION=([\d.]+)"', variables) for variables in told.splitlines()]
    return {name: cuda[1] for name, cuda in zip(names, stated, strict=False) if cuda}
