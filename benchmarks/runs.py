"""How long `inv runs` and `inv labs` take with many runs on record: `.venv/bin/python benchmarks/runs.py`.

Copies of one record, of a size as real ones have it, spread over the labs, in a folder of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpulab.common.paths import ROOT
from gpulab.lab.lab import lab_names
from gpulab.records.record import RunRecord, StepRecord
from gpulab.records.writer import write
from gpulab.stacks.stack import load_stack


def make(folder: Path, count: int) -> None:
    """So many runs of 8 steps each."""
    labs = lab_names()
    packages = load_stack("cpu").packages()
    for number in range(count):
        lab, stem = labs[number % len(labs)], f"20261123T{number // 60:04}{number % 60:02}Z"
        run = folder / lab.replace("/", "-") / stem
        run.mkdir(parents=True)
        steps = [
            StepRecord(step=f"step{n}", state="done", seconds=7, argv=["swift", "sft", *"abcdefgh"]) for n in range(8)
        ]
        record = RunRecord(
            run=f"{run.parent.name}/{stem}", state="done", lab=lab, title=lab, curriculum="none", profile="cpu",
            why="as asked", started="", argv=["inv", "lab", lab], settings={}, hub="modelscope", ports={}, nodes=1,
            only=[], engine="local", hosts=[], inventory="", stack={"name": "cpu", "packages": packages}, git={},
            machine={}, others=[], environment=dict(os.environ), steps=steps,
        )  # fmt: skip
        write(run, record)


def seconds(runs: Path, *words: str) -> tuple[float, float]:
    """How long inv took, and how long of it the processor worked for it: the same on a busy machine."""
    began, before = time.monotonic(), os.times()
    subprocess.run(
        [sys.executable, "-m", "gpulab", *words], cwd=ROOT, env={**os.environ, "GPULAB_RUNS": str(runs)},
        stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    after = os.times()
    worked = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, worked


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        make(Path(place), args.runs)
        asked = {
            "inv runs": ["runs"],
            "all of them": ["runs", "--limit", str(args.runs)],
            "inv labs": ["labs"],
        }
        result = {name: [seconds(Path(place), *words) for _ in range(args.rounds)] for name, words in asked.items()}
    medians = {
        name: {
            what: round(statistics.median(row[n] for row in rows), 2) for n, what in enumerate(("seconds", "processor"))
        }
        for name, rows in result.items()
    }
    print(json.dumps({"runs": args.runs, **medians, "load": os.getloadavg()}, indent=1))


if __name__ == "__main__":
    main()
