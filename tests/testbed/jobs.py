"""`inv` on a Slurm cluster of the testbed, and what a job leaves on its nodes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.runs import newest, record, start
from tests.testbed.bed import Testbed
from tests.testbed.conftest import Lab
from tests.wait import wait_until

LABS = Path(__file__).with_name("slurm") / "labs"
NODES = ("node1", "node2")


class Inv:
    """`./inv` on the tests' own labs and the cluster, its runs in a folder of their own."""

    def __init__(self, cluster: Lab, runs: Path, labs: Path = LABS) -> None:
        self.cluster, self.runs, self.labs = cluster, runs, labs

    def start(self, *words: str) -> subprocess.Popen[str]:
        return start(self.labs, self.runs, *words)

    def lab(self, *words: str, name: str = "job") -> subprocess.Popen[str]:
        return self.start("lab", name, "--engine", "slurm", "--hosts", str(self.cluster.inventory), *words)

    def run(self, *words: str) -> tuple[int, str]:
        return finish(self.start(*words))

    @property
    def record(self) -> dict[str, Any]:
        """See tests/runs.py."""
        return record(self.runs)

    @property
    def folder(self) -> Path:
        folder = newest(self.runs)
        assert folder, "there is no run yet"
        return folder

    def wait_for_steps(self, count: int) -> None:
        """Until the training's log, as it is mirrored here, has so many steps."""
        wait_until(lambda: self.record.get("job") and self.steps() >= count, f"{count} steps are seen here", 60)

    def steps(self) -> int:
        log = self.folder / "train" / "logging.jsonl"
        return log.read_text().count("\n") if log.is_file() else 0

    def job(self) -> dict[str, str]:
        words = self.cluster.bed.sh("head", f"scontrol --oneliner show job {self.record['job']}").split()
        return dict(word.split("=", 1) for word in words if "=" in word)


def left_on(inv: Inv, node: str) -> str:
    """The containers and networks of jobs on a node."""
    return "".join(
        inv.cluster.bed.sh(node, f"docker {what} -q --filter label=gpulab.job") for what in ("ps -a", "network ls")
    )


def well(bed: Testbed, nodes: Sequence[str]) -> None:
    """Who looked at a node while its engine rested has drained it: it is taken back."""
    for node in nodes:
        bed.sh(node, "/etc/slurm/gpu-lab-health")


def finish(process: subprocess.Popen[str], timeout: float = 300) -> tuple[int, str]:
    out, _ = process.communicate(timeout=timeout)
    return process.returncode, out
