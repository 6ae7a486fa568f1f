"""`inv curriculum --records`: how several people stand in the learning plan, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.listing import lines
from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS
from gpulab.lab.lab import lab_names, load_lab
from gpulab.reports.curriculum import COLOURS, STATES, Standing, standings
from gpulab.reports.listings import read_all


def show_team(folders: Sequence[str]) -> Outcome:
    """The plan with a column for each folder. Raises UsageError for one that is no folder, or without a run."""
    labs = {name: load_lab(LABS / name) for name in lab_names()}
    people: dict[str, list[Standing]] = {}
    for folder in folders:
        records = read_all(Path(folder).absolute())
        if not records:
            raise UsageError(
                f"--records {folder}: no runs in it", "name a folder like runs/: CHAPTER-LAB/TIME/run.json"
            )
        people[_name(folder, people)] = standings(labs, records)
    table = lines("row", "what", *people, wraps="what")
    rows = []
    for found in zip(*people.values(), strict=True):
        cells = [Text(f"{s.profile} {s.date[5:]}".strip() or s.state, style=COLOURS[s.state]) for s in found]
        table.add_row(found[0].row, found[0].en, *cells)
        rows.append({"row": found[0].row, "people": {name: asdict(s) for name, s in zip(people, found, strict=True)}})
    done = {
        name: {state: sum(s.state == state for s in some) for state in STATES.values()} for name, some in people.items()
    }
    return Outcome({"rows": rows, "people": done}, text=table)


def _name(folder: str, taken: dict[str, list[Standing]]) -> str:
    """A person by their folder: `ann` of ann/runs and of ann, the whole of it where that name is taken."""
    path = Path(folder).absolute()
    name = path.parent.name if path.name == "runs" else path.name
    return folder if name in taken else name
