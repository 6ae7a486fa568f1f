"""`inv curriculum`: the learning plan's rows, the labs of each, and what is done, from the records of runs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Group
from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.files import write_atomically
from gpulab.common.listing import lines
from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS, ROOT, shown
from gpulab.common.yamlfile import load_as
from gpulab.lab.lab import Lab, lab_names, load_lab
from gpulab.records.record import RunRecord
from gpulab.reports.listings import read_all

STATES = {"gpu": "done on gpu", "cpu": "rehearsed on cpu", "page": "a page", "": "todo"}
COLOURS = dict(zip(STATES.values(), ("green", "cyan", "cyan", "dim"), strict=True))
DONE = "done"
OF_RUN = "{run}"
Records = Mapping[Path, RunRecord | UsageError]
HEADING = "# Progress of the learning plan"


class Row(BaseModel):
    """A row of the plan, in English and Chinese. `labs`: those that carry it out beside their own; `todo`: why it has
    no lab yet; `page`: what stands for one; `output`: what one keeps of it beside the page: a file of the tree,
    `{run}/FILE` of its best run, or the command that makes it."""

    model_config = ConfigDict(extra="forbid")
    en: str
    zh: str
    labs: list[str] = []
    todo: str = ""
    page: str = ""
    output: list[str] = []


class CurriculumFile(BaseModel):
    """labs/curriculum.yml: rows by part."""

    model_config = ConfigDict(extra="forbid")
    parts: dict[str, dict[str, Row]]


@dataclass
class Standing:
    """A row, its labs, and its best run: on a GPU before on a CPU, then the newest."""

    row: str
    en: str
    zh: str
    why: str
    labs: list[str] = field(default_factory=list)
    state: str = STATES[""]
    profile: str = ""
    date: str = ""
    run: str = ""
    output: list[str] = field(default_factory=list)


def rows() -> dict[str, Row]:
    """The plan's rows by the name that a lab's `curriculum:` gives."""
    parts = load_as(CurriculumFile, LABS / "curriculum.yml").parts
    return {f"{part}.{name}": row for part, found in parts.items() for name, row in found.items()}


def standings(labs: Mapping[str, Lab], records: Records | None = None) -> list[Standing]:
    """How each row stands by these records or by all, in the plan's order. A lab counts when all of it is done."""
    best = best_runs(labs, read_all() if records is None else records)
    found = []
    for name, row in rows().items():
        standing = Standing(name, row.en, row.zh, row.todo or row.page)
        standing.labs = [lab.name for lab in labs.values() if lab.curriculum == name or lab.name in row.labs]
        runs = [best[lab] for lab in standing.labs if lab in best]
        folder = None
        if runs:
            folder, record = max(runs, key=rank)
            standing.profile, standing.state = record.profile, STATES[record.profile]
            standing.date, standing.run = record.started[:10], record.run
        elif (ROOT / row.page).is_file():
            standing.state = STATES["page"]
        standing.output = outputs(row, standing.labs, folder)
        found.append(standing)
    return found


def outputs(row: Row, labs: Sequence[str], run: Path | None) -> list[str]:
    """What one keeps of a row: files, and commands that make what is not there yet."""
    page = [row.page] if (ROOT / row.page).is_file() else []
    of_run = [name for name in row.output if name.startswith(OF_RUN)]
    others = [name for name in row.output if name not in of_run]
    made = [name.replace(OF_RUN, shown(run)) for name in of_run] if run else [f"./inv lab {lab}" for lab in labs[:1]]
    return [*page, *others, *(made if of_run else [])]


def best_runs(labs: Mapping[str, Lab], records: Records) -> dict[str, tuple[Path, RunRecord]]:
    """Each lab's best run that is done, of all of its steps, with its folder."""
    best: dict[str, tuple[Path, RunRecord]] = {}
    for folder, record in records.items():
        if not isinstance(record, RunRecord) or record.state != DONE or record.lab not in labs:
            continue
        whole = set(record.only) >= set(labs[record.lab].steps)
        if whole and (record.lab not in best or rank((folder, record)) >= rank(best[record.lab])):
            best[record.lab] = folder, record
    return best


def rank(run: tuple[Path, RunRecord]) -> tuple[bool, str]:
    """By what one run shows more than another."""
    _, record = run
    return record.profile == "gpu", record.started


def show_curriculum(export: str = "") -> Outcome:
    """The plan as a table, or with --json as data; `export`: a file that gets it as Markdown, too."""
    labs = {name: load_lab(LABS / name) for name in lab_names()}
    found = standings(labs)
    if export:
        write_page(Path(export), as_markdown(found, labs))
    counts = {state: sum(standing.state == state for standing in found) for state in STATES.values()}
    table = lines("row", "what", "labs", "state", wraps="what")
    part = ""
    for standing in found:
        above, _, name = standing.row.rpartition(".")
        if above != part:
            part = above
            table.add_row(Text(part, style="bold"))
        done = f"{standing.profile} {standing.date[5:]}".strip() or standing.state
        state = Text(done, style=COLOURS[standing.state])
        table.add_row(name, " · ".join(dict.fromkeys((standing.en, standing.zh))), "\n".join(standing.labs), state)
    kept = lines("output of", "is")
    for standing in found:
        if standing.output:
            kept.add_row(standing.row, "\n".join(standing.output))
    said = ", ".join(f"{count} {state}" for state, count in counts.items())
    data: dict[str, Any] = {"rows": [asdict(standing) for standing in found], **counts}
    hint = f"written to {export}" if export else "--json has the runs, and why a row has no lab"
    return Outcome(data, text=Group(table, "", kept, "", Text(f"{len(found)} rows: {said}. {hint}.")))


def as_markdown(found: Sequence[Standing], labs: Mapping[str, Lab]) -> str:
    """Progress for who did not run it: how many rows are done, what is next and how long it takes on GPUs, each row
    with the run that shows its state."""
    counts = [f"{sum(s.state == state for s in found)} {state}" for state in STATES.values()]
    text = [HEADING, "", f"{date.today().isoformat()}: {len(found)} rows, {', '.join(counts)}.", ""]
    if ahead := [s for s in found if s.labs and s.profile != "gpu"]:
        text += ["## Next", "", "| row | lab | minutes on GPUs |", "|---|---|---:|"]
        text += [f"| {s.row} | {name} | {labs[name].needs.minutes:g} |" for s in ahead for name in s.labs]
        text.append("")
    part = ""
    for standing in found:
        above, _, name = standing.row.rpartition(".")
        if above != part:
            part = above
            text += [f"## {part}", "", "| row | what | labs | state | date | run |", "|---|---|---|---|---|---|"]
        what = " · ".join(dict.fromkeys((standing.en, standing.zh)))
        state = standing.state if standing.labs or not standing.why else f"{standing.state}: {standing.why}"
        cells = (name, what, ", ".join(standing.labs), state, standing.date, standing.run)
        text.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    text += ["## Outputs", "", "| row | what | output |", "|---|---|---|"]
    text += [f"| {s.row} | {s.en} · {s.zh} | {'<br/>'.join(f'`{o}`' for o in s.output)} |" for s in found if s.output]
    return "\n".join(text) + "\n"


def write_page(path: Path, text: str) -> None:
    """Write it, in the place of an earlier one of its kind. Raises UsageError rather than replace anything else."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"--export {path}: no file can be there", "--export progress.md")
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(HEADING):
        raise UsageError(f"--export {path}: there is a file of another kind", "name a new file")
    write_atomically(path, text)
