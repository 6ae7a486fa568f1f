"""Where things are: every folder the lab reads or writes."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LABS = ROOT / "labs"
DOCKER = ROOT / "docker"
FLAGS = DOCKER / "flags.json"  # made by `inv lock` from ms-swift's own argument classes
STACKS_YML = DOCKER / "stacks.yml"
COMPOSE = ROOT / "compose"
CONTROL_LOCK = ROOT / "gpulab" / "control.lock"
STACKS = ROOT / ".stacks"
CACHE = ROOT / ".cache"


def runs_dir() -> Path:
    """The folder of the run records: `runs/`, or what GPULAB_RUNS names (a larger disk, a shared one)."""
    return Path(os.environ.get("GPULAB_RUNS") or ROOT / "runs").absolute()


def shown(path: Path) -> str:
    """`path` as one reads it: relative to the current folder where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
