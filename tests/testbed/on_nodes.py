"""`inv` on hosts that are ready for labs, with labs of the tests' own (nodes/labs/), and what it leaves."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runs import record, start
from tests.testbed.bed import Testbed
from tests.testbed.paths import REPO
from tests.testbed.prepared import prepared

LABS = Path(__file__).with_name("nodes") / "labs"
LABEL = "--filter label=gpulab.run"


@dataclass
class Nodes:
    """The hosts, and how `inv` runs on them."""

    bed: Testbed
    hosts: Sequence[str]
    inventory: Path
    labs: Path

    def start(
        self, runs: Path, *words: str, beats: int = 20, lab: str = "pair", how: str = "--rehearse"
    ) -> subprocess.Popen[str]:
        """Start `inv lab LAB --hosts ...` with the tests' labs in the place of the repository's."""
        words += ("--set", f"pair.beats={beats}") if lab == "pair" else ()
        return self.inv(runs, "lab", lab, "--hosts", str(self.inventory), *([how] if how else []), *words)

    def inv(self, runs: Path, *words: str) -> subprocess.Popen[str]:
        """Start any verb of inv's on them."""
        return start(self.labs, runs, *words)

    def run(self, runs: Path, *words: str, timeout: float = 300, **how: Any) -> tuple[int, str]:
        """Run a lab to its end: exit status and all that was said."""
        process = self.start(runs, *words, **how)
        said = process.communicate(timeout=timeout)[0]
        return process.returncode, said

    def containers(self, which: str = "--all") -> str:
        """What is there of the lab's runs, on all hosts, running or not."""
        return "".join(self.bed.sh(host, f"docker ps -q {which} {LABEL}", check=False) for host in self.hosts)

    def kill(self, host: str) -> None:
        """Kill what runs of the lab's on a host."""
        self.bed.sh(host, f"docker kill $(docker ps -q {LABEL})")

    def clear(self) -> None:
        """Remove what is left of the lab's runs."""
        for host in self.hosts:
            self.bed.sh(host, f"docker ps -aq {LABEL} | xargs -r docker rm -f", check=False)

    def left(self, process: subprocess.Popen[str], runs: Path) -> None:
        """Kill its inv as a lost laptop does; the next one finds the run gone on without it."""
        process.kill()
        process.wait()
        said = self.inv(runs, "runs").communicate(timeout=300)[0]
        assert "its inv is gone" in said and "./inv attach" in said, said
        assert record(runs)["state"] == "detached"


@contextmanager
def on_hosts(hosts: Sequence[str], name: str, place: Path, gpus: int = 0) -> Iterator[Nodes]:
    """Hosts for as long as the tests last; `place` is for the labs."""
    bed = prepared(hosts, name, gpus)
    shutil.copytree(REPO / "labs" / "train" / "multi-node", place / "tests" / "train")
    shutil.copytree(REPO / "labs" / "common", place / "common")
    shutil.copytree(LABS, place, dirs_exist_ok=True)
    try:
        yield Nodes(bed, hosts, bed.inventory(user="lab"), place)
    finally:
        bed.end()


def log(runs: Path, name: str = "pair") -> str:
    """A log of the newest run; empty before there is one."""
    found = sorted(runs.glob(f"*/*/logs/{name}.log"))
    return found[-1].read_text() if found else ""


def beats(runs: Path, rank: int) -> list[int]:
    """The beats of a node in the newest run's log."""
    return [int(number) for number in re.findall(rf"\[{rank}\] beat (\d+)", log(runs))]
