"""Shell that runs on hosts and in jobs. It is in files of its own, which shellcheck reads."""

from __future__ import annotations

from pathlib import Path

from gpulab.plan.script import embedded


def text(name: str) -> str:
    """A file of this folder, as it goes into a script or behind `sh -c`."""
    return embedded(Path(__file__).parent / name)
