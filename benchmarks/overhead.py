"""What `./inv lab` costs over the same commands run by hand, in one run: `.venv/bin/python benchmarks/overhead.py`.

By hand means the lab's own plan.sh: the same commands, environment and order, started by bash. Also measured: the time
of `inv --list` and `inv labs`, and the time from the command to the first training step on record.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def timed(command: list[str], env: dict[str, str] | None = None) -> float:
    """Seconds that `command` takes; raises CalledProcessError with its output when it fails."""
    began = time.monotonic()
    subprocess.run(command, env={**os.environ, **(env or {})}, check=True, capture_output=True, cwd=ROOT)
    return time.monotonic() - began


def first_step(folder: Path, began: float) -> float | None:
    """Seconds from `began` (epoch) to the first line of a logging.jsonl, by the train step's record."""
    record = json.loads((folder / "run.json").read_text())
    for step in record["steps"]:
        log = folder / step["step"] / "logging.jsonl"
        if log.is_file():
            start = datetime.fromisoformat(step["started"].replace("Z", "+00:00")).timestamp()
            return start - began
    return None


def main() -> None:
    """Alternate lab and script, so that what else the machine does falls on both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lab", nargs="?", default="transformers")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    listing = [timed(["./inv", "--list"]) for _ in range(5)]
    labs = [timed(["./inv", "labs"]) for _ in range(5)]
    with tempfile.TemporaryDirectory() as place:
        env = {"GPULAB_RUNS": f"{place}/runs"}
        script = Path(place) / "plan.sh"
        dry = subprocess.run(
            ["./inv", "lab", args.lab, "--rehearse", "--dry", "--json"], cwd=ROOT, check=True, capture_output=True
        )
        script.write_text(json.loads(dry.stdout)["plan"])
        by_lab, by_hand, to_train = [], [], []
        for number in range(args.rounds):
            began = time.time()
            by_lab.append(timed(["./inv", "lab", args.lab, "--rehearse"], env))
            run = sorted((Path(place) / "runs").glob("*/*/run.json"))[-1].parent
            if (seconds := first_step(run, began)) is not None:
                to_train.append(seconds)
            by_hand.append(timed(["bash", str(script), f"{place}/hand-{number}"]))
    lab, hand = statistics.median(by_lab), statistics.median(by_hand)
    result = {
        "lab": args.lab, "rounds": args.rounds,
        "lab_seconds": [round(s, 2) for s in by_lab], "hand_seconds": [round(s, 2) for s in by_hand],
        "ratio": round(lab / hand, 4), "allowed_seconds": round(1.03 * hand + 1, 2), "median_lab": round(lab, 2),
        "inv_list_seconds": round(statistics.median(listing), 3), "inv_labs_seconds": round(statistics.median(labs), 3),
        "seconds_to_training_start": [round(s, 2) for s in to_train],
    }  # fmt: skip
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
