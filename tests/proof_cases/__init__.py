"""Every proof's cases, a file for each of gpulab/checks, made of pieces of runs (tests/finished_runs.py)."""

from __future__ import annotations

import importlib
import pkgutil

from tests.finished_runs import Build

Cases = dict[str, tuple[list[Build], list[list[Build]]]]
"""By phrase: the feature active, then runs in which it was not."""


def by_subject() -> dict[str, Cases]:
    """The cases of each file."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name: importlib.import_module(f"{__name__}.{name}").CASES for name in names}
