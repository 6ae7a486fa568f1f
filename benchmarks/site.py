"""How long `inv site` takes with many runs on record: `.venv/bin/python benchmarks/site.py`.

Built from nothing, again without a change, and after one more run, in the place of the site at hand.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.runs import make, seconds
from gpulab.lab.lab import lab_names
from gpulab.records.read import all_runs
from gpulab.reports.site.make import SITE


def main() -> None:
    """Measure and print one JSON object: seconds, and the processor's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["GPULAB_RUNS"] = place
        make(Path(place), args.runs)
        for run in all_runs():
            (run / "report.html").write_text("a report " * 15_000)
        shutil.rmtree(SITE, ignore_errors=True)
        found = {"from nothing": seconds(Path(place), "site"), "no change": seconds(Path(place), "site")}
        last = all_runs()[-1]
        shutil.copytree(last, last.with_name("20261124T000000Z"))
        found["one run added"] = seconds(Path(place), "site")
    rounded = {what: [round(value, 2) for value in values] for what, values in found.items()}
    print(json.dumps({"labs": len(lab_names()), "runs": args.runs, **rounded, "load": os.getloadavg()}, indent=1))


if __name__ == "__main__":
    main()
