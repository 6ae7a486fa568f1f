"""inv on labs of the tests' own, and the newest run that it left in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def start(labs: Path, runs: Path, *words: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
    """Start a verb of inv's with `labs` in the place of the repository's, its runs in `runs`."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.testbed.inv_on_labs", labs, *words], cwd=ROOT, text=True,
        env={**os.environ, "GPULAB_RUNS": str(runs)}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
    )  # fmt: skip


def newest(runs: Path) -> Path | None:
    """The folder of the newest run; None before there is one."""
    found = sorted(runs.glob("*/*/run.json"))
    return found[-1].parent if found else None


def record(runs: Path) -> dict[str, Any]:
    """The newest run's record as it stands; empty before there is one."""
    folder = newest(runs)
    return json.loads((folder / "run.json").read_text()) if folder else {}
