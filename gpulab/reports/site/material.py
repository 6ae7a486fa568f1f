"""What the pages are made of, read once for both languages: labs, records, the plan, the main line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.paths import LABS, ROOT
from gpulab.lab.lab import Lab, lab_names, load_lab
from gpulab.records.record import RunRecord
from gpulab.reports.curriculum import Standing, standings
from gpulab.reports.listings import read_all

MAIN_LINE = "docs/main-line.md"
SHOWN = 5  # runs of a lab


@dataclass(frozen=True)
class MainLine:
    """A command's part of docs/main-line.md: its chart, and the lab in which it was traced."""

    command: str
    lab: str
    chart: str


@dataclass(frozen=True)
class Material:
    """Labs by name, each lab's last runs with the newest first, the plan's rows, the main line of each command, and the
    documents by their files below the root."""

    labs: Mapping[str, Lab]
    runs: Mapping[str, Sequence[tuple[Path, RunRecord | UsageError]]]
    plan: Sequence[Standing]
    main_line: Sequence[MainLine]
    documents: Mapping[str, str]


def gather() -> Material:
    """Read it all. Raises UsageError for a lab that can't be read; a record that can't be is told of in its place."""
    labs = {name: load_lab(LABS / name) for name in lab_names()}
    runs = read_all()
    last: dict[str, list[tuple[Path, RunRecord | UsageError]]] = defaultdict(list)
    for folder, record in sorted(runs.items(), key=lambda run: run[0].name, reverse=True):  # newest first
        if len(last[folder.parent.name]) < SHOWN:
            last[folder.parent.name].append((folder, record))
    files = [ROOT / "README.md", ROOT / "README_CN.md", *sorted((ROOT / "docs").glob("*.md"))]
    documents = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}
    plan = standings(labs, runs)
    return Material(labs, last, plan, main_lines(documents.get(MAIN_LINE, "")), documents)


def main_lines(page: str) -> list[MainLine]:
    """The parts of docs/main-line.md."""
    found = []
    for part in page.split("\n## ")[1:]:
        traced = re.search(r"`\./inv trace ([\w-]+/[\w-]+)", part)
        chart = re.search(r"^```mermaid\n.*?^```$", part, re.MULTILINE | re.DOTALL)
        found.append(MainLine(part.partition("\n")[0], traced[1] if traced else "", chart[0] if chart else ""))
    return found
