"""What a run uses: CPU, memory, GPUs, sampled about once a second into resources.csv, peaks by step."""

from __future__ import annotations

import csv
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from gpulab.gpus import devices
from gpulab.processes import tree


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


class Sampler:
    """Samples the processes it is told to watch. `tick()` returns at once between two samples."""

    def __init__(self, file: Path, interval: float = 1.0) -> None:
        self._devices = devices()
        self._file = file.open("w", newline="", encoding="utf-8")
        self._csv = csv.DictWriter(self._file, [f.name for f in fields(Sample)])
        self._csv.writeheader()
        self._known: dict[int, psutil.Process] = {}
        self._start = time.monotonic()
        self._next = 0.0
        self._interval = interval
        self.peaks: dict[str, dict[str, float]] = {}

    def tick(self, step: str, pids: list[int]) -> None:
        """Take a sample when one is due."""
        moment = time.monotonic()
        if moment < self._next:
            return
        self._next = moment + self._interval
        cpu = rss = 0.0
        for process in [p for pid in pids for p in tree(pid)]:
            process = self._known.setdefault(process.pid, process)  # cpu_percent is relative to its last call
            try:
                cpu += process.cpu_percent()
                rss += process.memory_info().rss
            except psutil.Error:
                self._known.pop(process.pid, None)
        percents = [float(d.gpu_utilization()) for d in self._devices]
        sample = Sample(
            seconds=round(moment - self._start, 2),
            step=step,
            cpu_percent=round(cpu, 1),
            rss_mib=round(rss / 2**20, 1),
            gpu_percent=round(sum(percents) / len(percents), 1) if percents else 0.0,
            gpu_mib=round(sum(int(d.memory_used()) for d in self._devices) / 2**20, 1),
        )
        self._csv.writerow(asdict(sample))
        self._file.flush()
        peak = self.peaks.setdefault(step, {})
        for name in ("cpu_percent", "rss_mib", "gpu_percent", "gpu_mib"):
            peak[name] = max(peak.get(name, 0.0), getattr(sample, name))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
