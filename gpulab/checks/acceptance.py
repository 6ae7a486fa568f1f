"""Is a machine fit for use? What was measured on it (inside/acceptance) against its GPU's published figures, and
against the other machines: one that is slower than its equals is sick, whatever it is sold as."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from gpulab.checks.registry import Finished, Unproven, proof

TYPES = Path(__file__).parents[1] / "inside" / "gpu_types.yml"
# Of the published figure: what dense products and copies reach on healthy cards, less a tenth.
OF_PUBLISHED = {"matmul_tflops": ("tflops", 0.6), "memory_gbs": ("memory_gbs", 0.8), "h2d_gbs": ("h2d_gbs", 1.0)}
# Of the median of all devices of the same kind. CPUs are not exclusive: a rehearsal's hosts share one.
OF_PEERS = {"matmul_tflops": 0.9, "memory_gbs": 0.9, "h2d_gbs": 0.8, "all_all_reduce_gbs": 0.8}
OF_CPU_PEERS = 0.1
STEADY = 0.8  # the slowest part of a burn-in, of the middle one: below it a card lowers its clocks
WHOLE_HOST = 8  # GPUs of a host whose all-reduce gpu_types.yml has


@dataclass(frozen=True)
class Finding:
    """One figure of one device: what was measured, what it had to be, whether it was."""

    host: str
    rank: int
    figure: str
    measured: float
    needed: str
    passed: bool

    @property
    def line(self) -> str:
        """All of it, to be read."""
        return f"{self.host} rank {self.rank}: {self.figure} {self.measured:.3g}, needs {self.needed}"


@cache
def gpu_type(name: str) -> dict[str, int] | None:
    """What a healthy GPU of that name reaches (gpu_types.yml); None for one that is not there."""
    import yaml

    types: dict[str, dict[str, int]] = yaml.safe_load(TYPES.read_text(encoding="utf-8"))
    return next((types[key] for key in sorted(types, key=len, reverse=True) if key in name), None)


def machines(out: Path) -> list[dict[str, Any]]:
    """What each rank wrote down, by rank."""
    files = sorted((out / "machines").glob("*.json"), key=lambda file: int(file.stem))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def judge(ranks: Sequence[dict[str, Any]]) -> list[Finding]:
    """Every figure that there is a yardstick for. A figure without one is told and not judged."""
    peers: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))  # by device, then by figure
    for rank in ranks:
        for name in OF_PEERS:
            if name in rank["figures"]:
                peers[rank["device"]][name].append(rank["figures"][name])
    return [finding for rank in ranks for finding in (*_alone(rank), *_among(rank, peers[rank["device"]]))]


def _alone(rank: dict[str, Any]) -> Iterator[Finding]:
    figures, kind = rank["figures"], gpu_type(rank["device"])
    for name, (published, share) in OF_PUBLISHED.items():
        if kind and kind[published] and name in figures:
            least = share * kind[published]
            yield _at_least(rank, name, least, f"{share:.0%} of {kind[published]} published")
    if kind and kind["all_reduce_gbs"] and "host_all_reduce_gbs" in figures and rank["local_world_size"] == WHOLE_HOST:
        yield _at_least(rank, "host_all_reduce_gbs", kind["all_reduce_gbs"], "gpu_types.yml")
    yield _at_most(rank, "wrong_products", 0)
    if rank["device"] != "CPU":
        yield _at_least(rank, "slowest_tflops", STEADY * figures["matmul_tflops"], f"{STEADY:.0%} of the middle")
        for name in ("ecc_errors", "hw_slowdown"):
            if name in figures:
                yield _at_most(rank, name, 0)


def _among(rank: dict[str, Any], peers: Mapping[str, Sequence[float]]) -> Iterator[Finding]:
    for name, values in peers.items():
        if len(values) > 1 and name in rank["figures"]:
            share = OF_CPU_PEERS if rank["device"] == "CPU" else OF_PEERS[name]
            yield _at_least(rank, name, share * median(values), f"{share:.0%} of the median of {len(values)}")


def _at_least(rank: dict[str, Any], name: str, least: float, why: str) -> Finding:
    value = float(rank["figures"][name])
    return Finding(rank["host"], rank["rank"], name, value, f">= {least:.3g} ({why})", value >= least)


def _at_most(rank: dict[str, Any], name: str, most: float) -> Finding:
    value = float(rank["figures"][name])
    return Finding(rank["host"], rank["rank"], name, value, f"<= {most:g}", value <= most)


@proof("every machine passes")
def every_machine(finished: Finished) -> str:
    """Each rank of one group left its figures, and none is below what it has to be."""
    ranks = machines(finished.out)
    if not ranks or [r["rank"] for r in ranks] != list(range(ranks[0]["world_size"])):
        raise Unproven(f"{len(ranks)} ranks left figures, of {ranks[0]['world_size'] if ranks else '?'}")
    findings = judge(ranks)
    if failed := [finding.line for finding in findings if not finding.passed]:
        raise Unproven("; ".join(failed))
    hosts = len({(r["host"], r["node_rank"]) for r in ranks})
    return f"{len(findings)} figures of {len(ranks)} devices on {hosts} host{'s' * (hosts > 1)} are as they should be"
