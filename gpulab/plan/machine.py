"""Facts about this machine: CPU, RAM, GPUs, driver."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gpulab.common.gpus import devices
from gpulab.lab.written import Needs


@dataclass(frozen=True)
class Gpu:
    """One GPU as its driver sees it; memory in GiB."""

    name: str
    vram_gib: float
    free_gib: float
    uuid: str


@dataclass(frozen=True)
class Machine:
    """What a run's record says about where it ran; memory in GiB."""

    hostname: str
    system: str
    cpu: str
    cores: int
    ram_gib: float
    python: str
    gpus: list[Gpu] = field(default_factory=list)
    driver: str | None = None
    cuda: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for the record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Machine:
        """What `as_dict` gave. Raises TypeError for what it did not give."""
        return cls(**{**data, "gpus": [Gpu(**gpu) for gpu in data.get("gpus", [])]})

    def lacks(self, needs: Needs) -> str | None:
        """Why this machine can't run a lab on its GPUs, in a few words; None when it can."""
        if not needs.gpus:
            return None
        wanted = f"{needs.gpus} GPU{'s' * (needs.gpus > 1)} with {needs.vram_gib:g} GiB"
        if not self.gpus:
            return f"no GPU here, the lab needs {wanted}"
        fitting = [g for g in self.gpus if g.free_gib >= needs.vram_gib]
        if len(fitting) < needs.gpus:
            here = ", ".join(f"{g.name} ({g.free_gib:.0f} GiB free)" for g in self.gpus)
            return f"the lab needs {wanted}, here: {here}"
        return None

    def in_order(self, needs: Needs, allowed: str = "") -> list[int]:
        """The GPUs by number, those with the memory that a lab needs free first; of those `allowed` alone, as
        CUDA_VISIBLE_DEVICES names them. None where it names them in another way than by number."""
        words = [word.strip() for word in allowed.split(",") if word.strip()]
        if not all(word.isdigit() and int(word) < len(self.gpus) for word in words):
            return []
        numbers = [int(word) for word in words] or range(len(self.gpus))
        return sorted(numbers, key=lambda number: self.gpus[number].free_gib < needs.vram_gib)


def this_machine() -> Machine:
    """The facts, asked now. GPUs through NVML (nvitop); none where there is no driver."""
    found = devices()
    return Machine(
        hostname=platform.node(),
        system=_system(),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        ram_gib=round(psutil.virtual_memory().total / 2**30, 1),
        python=platform.python_version(),
        gpus=[Gpu(str(d.name()), _gib(d.memory_total()), _gib(d.memory_free()), str(d.uuid())) for d in found],
        driver=str(found[0].driver_version()) if found else None,
        cuda=str(found[0].cuda_driver_version()) if found else None,
    )


def _gib(size: Any) -> float:
    return round(int(size) / 2**30, 1)


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    return f"{name}, kernel {platform.release()}"


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
