"""What `./inv lab` costs over the same commands run by hand, in one run: `.venv/bin/python benchmarks/overhead.py`.

By hand means the lab's own plan.sh: the same commands, environment and order, started by bash. Also measured: the time
of `inv --list` and `inv labs`, and from the command to the first loss that ms-swift logs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def timed(command: list[str]) -> float:
    """Seconds that `command` takes; raises CalledProcessError when it fails."""
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return time.monotonic() - began


def lab_timed(lab: str, runs: Path, *words: str) -> tuple[float, float | None]:
    """(seconds that the lab takes, seconds until ms-swift logged its first loss; None where it trains nothing)."""
    began = time.monotonic()
    first = None
    env = {**os.environ, "GPULAB_RUNS": str(runs)}
    process = subprocess.Popen(
        ["./inv", "lab", lab, "--rehearse", *words], cwd=ROOT, env=env, stdout=subprocess.DEVNULL
    )
    while process.poll() is None:
        if first is None and any('"loss"' in f.read_text() for f in runs.glob("*/*/*/logging.jsonl")):
            first = time.monotonic() - began
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{lab} ended with {process.returncode}")
    return time.monotonic() - began, first


def main() -> None:
    """Alternate lab and script, so that what else the machine does falls on both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lab", nargs="?", default="quickstart")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    listing = [timed(["./inv", "--list"]) for _ in range(5)]
    labs = [timed(["./inv", "labs"]) for _ in range(5)]
    ask = ["./inv", "lab", args.lab, "--rehearse", "--dry", "--json"]
    plan = json.loads(subprocess.run(ask, cwd=ROOT, check=True, capture_output=True).stdout)["plan"]
    rounds = []
    with tempfile.TemporaryDirectory() as place:
        script = Path(place) / "plan.sh"
        script.write_text(plan)
        for number in range(args.rounds):
            lab, first = lab_timed(args.lab, Path(place) / f"runs-{number}")
            hand = timed(["bash", str(script), f"{place}/hand-{number}"])
            rounds.append({"lab": round(lab, 2), "hand": round(hand, 2), "first_loss": first and round(first, 2)})
    lab, hand = (statistics.median(r[kind] for r in rounds) for kind in ("lab", "hand"))
    result = {
        "lab": args.lab, "seconds": rounds,
        "ratio": round(lab / hand, 4), "over_by_hand_seconds": round(lab - hand, 2),
        "within_1.03_plus_1s": lab <= 1.03 * hand + 1,
        "inv_list_seconds": round(statistics.median(listing), 3), "inv_labs_seconds": round(statistics.median(labs), 3),
    }  # fmt: skip
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
