"""What a container costs over the venv, in one run: `.venv/bin/python benchmarks/engines.py`.

The same lab by the local and by the docker engine in turn, so that what else the machine does falls on both; and how
long it takes until a container of the stack's image has run `true`. Needs an engine that has the cpu stack's image
(`./inv build cpu`); here: DOCKER_HOST and DOCKER_CONFIG of the testbed's, see tests/testbed/stack_images.py.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from overhead import lab_timed, timed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpulab.images.image import Image
from gpulab.stacks.stack import load_stack


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lab", nargs="?", default="transformers")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    tag = Image(load_stack("cpu")).tag
    rounds = []
    with tempfile.TemporaryDirectory() as place:
        for number in range(args.rounds):
            row = {
                engine: round(lab_timed(args.lab, Path(place) / f"{engine}-{number}", "--engine", engine)[0], 2)
                for engine in ("local", "docker")
            }
            row["start"] = round(timed(["docker", "run", "--rm", tag, "true"]), 2)
            rounds.append(row)
    local, docker, start = (statistics.median(row[what] for row in rounds) for what in ("local", "docker", "start"))
    result = {
        "lab": args.lab, "seconds": rounds, "ratio": round(docker / local, 3), "container_start_seconds": start,
        "load": os.getloadavg(),
    }  # fmt: skip
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
