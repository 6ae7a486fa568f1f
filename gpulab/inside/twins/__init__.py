"""Tiny twins of model families: the real architecture and token layout, small enough to train on a CPU.

A module of `families/` a family. What imports torch and transformers runs in a stack, never in the control venv.
"""

from pathlib import Path

FOLDER = Path(__file__).parent


def families() -> list[str]:
    """The families that there are twins of. The files are the registry: nothing is imported."""
    return sorted(file.stem for file in (FOLDER / "families").glob("[!_]*.py"))


def sources() -> list[Path]:
    """All that a twin is made by: when one of these files changes, so may the twin."""
    return sorted(FOLDER.rglob("*.py"))
