"""What a job's containers use: each node writes it down (shell/sampler.sh), and the record gets it after each step.

Slurm's own figures leave containers out: they belong to Docker's processes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from gpulab.common.resources import Sample
from gpulab.engines.container_job import usage
from gpulab.inside.slurm_watcher import USAGE

GPU = re.compile(r"(\d+|\[N/A\]), (\d+|\[N/A\])$", re.MULTILINE)  # anything else is a complaint of nvidia-smi


def samples(run: Path, step: str) -> Iterator[Sample]:
    """A step's samples, one for each moment at which a node told something: the sum over the nodes of their latest.

    Seconds count from the job's first sample.
    """
    looks: dict[tuple[int, str], list[str]] = {}  # (moment, node) -> what it told of the step
    first: int | None = None
    for file in sorted(run.glob(USAGE)):
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            at, begun, told = line.split(" ", 2)
            first = min(first or int(at), int(at))
            if begun == step:
                looks.setdefault((int(at), file.stem), []).append(told)
    latest: dict[str, list[str]] = {}
    for (moment, node), look in sorted(looks.items()):
        latest[node] = look
        yield total([line for lines in latest.values() for line in lines], step, float(moment - (first or 0)))


def total(lines: list[str], step: str, seconds: float) -> Sample:
    """Containers' lines (`{"CPUPerc": "101.5%", ...}`) and GPUs' (`97, 40213`) as one sample."""
    used = [usage(json.loads(line)) for line in lines if line.startswith("{")]
    gpus = [[float(n) if n.isdigit() else 0.0 for n in told.groups()] for line in lines if (told := GPU.match(line))]
    return Sample(
        seconds=seconds,
        step=step,
        cpu_percent=round(sum(u.cpu_percent for u in used), 1),
        rss_mib=round(sum(u.rss_mib for u in used), 1),
        gpu_percent=round(sum(percent for percent, _ in gpus) / max(1, len(gpus)), 1),
        gpu_mib=round(sum(mib for _, mib in gpus), 1),
    )
