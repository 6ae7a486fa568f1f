"""What a run uses: CPU, memory, GPUs, sampled about once a second into resources.csv, peaks by step."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

from gpulab.common.gpus import devices


@dataclass(frozen=True)
class Usage:
    """What something uses: CPU in percent (100 = one core), memory (RSS) in MiB."""

    cpu_percent: float = 0.0
    rss_mib: float = 0.0


class Used(Protocol):
    """What can be asked what it uses."""

    def usage(self) -> Usage:
        """What it uses now."""


@dataclass(frozen=True)
class Sample:
    """One look: seconds since the run's start, the step, CPU of its processes (100 = one core), RSS in MiB,
    GPUs' mean utilization in percent and memory in MiB (0 without a GPU)."""

    seconds: float
    step: str
    cpu_percent: float
    rss_mib: float
    gpu_percent: float
    gpu_mib: float


def this_machines_gpus() -> Callable[[], tuple[float, float]]:
    """A function that reads the GPUs' mean utilization in percent and their memory in use in MiB."""
    found = devices()

    def read() -> tuple[float, float]:
        percents = [float(d.gpu_utilization()) for d in found]
        return sum(percents) / max(1, len(percents)), sum(int(d.memory_used()) for d in found) / 2**20

    return read


class Sampler:
    """Samples the jobs it is told to watch. `tick()` returns at once between two samples."""

    def __init__(self, file: Path, gpus: Callable[[], tuple[float, float]], interval: float = 1) -> None:
        self._gpus = gpus
        self._file = file.open("w", newline="", encoding="utf-8")
        self._csv = csv.DictWriter(self._file, [f.name for f in fields(Sample)])
        self._csv.writeheader()
        self._start = time.monotonic()
        self._next = 0.0
        self._interval = interval
        self.peaks: dict[str, dict[str, float]] = {}

    def tick(self, step: str, jobs: Sequence[Used]) -> None:
        """Take a sample when one is due."""
        moment = time.monotonic()
        if moment < self._next:
            return
        self._next = moment + self._interval
        used = [job.usage() for job in jobs]
        gpu_percent, gpu_mib = self._gpus()
        sample = Sample(
            seconds=round(moment - self._start, 2),
            step=step,
            cpu_percent=round(sum(u.cpu_percent for u in used), 1),
            rss_mib=round(sum(u.rss_mib for u in used), 1),
            gpu_percent=round(gpu_percent, 1),
            gpu_mib=round(gpu_mib, 1),
        )
        self.add(sample)

    def add(self, sample: Sample) -> None:
        """Take a sample that was made elsewhere."""
        self._csv.writerow(asdict(sample))
        self._file.flush()
        peak = self.peaks.setdefault(sample.step, {})
        for name in ("cpu_percent", "rss_mib", "gpu_percent", "gpu_mib"):
            peak[name] = max(peak.get(name, 0.0), getattr(sample, name))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
