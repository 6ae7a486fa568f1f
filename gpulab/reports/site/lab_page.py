"""A lab's page: what it is, its README, its steps and lab.yaml, ms-swift's main line in it, its last runs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from gpulab.common import redact
from gpulab.common.errors import UsageError
from gpulab.lab.lab import Lab
from gpulab.lab.step import Step
from gpulab.records.record import RunRecord
from gpulab.reports.labs import models
from gpulab.reports.listings import UNREADABLE
from gpulab.reports.report import FILE as REPORT
from gpulab.reports.site.markdown import code, link, plain, relative, table
from gpulab.reports.site.material import MAIN_LINE, Material
from gpulab.reports.site.words import Words
from gpulab.reports.summary import figures

LONGEST = 300  # letters of a failure


def lab_page(lab: Lab, page: str, readme: str, material: Material, words: Words) -> str:
    """The page. `readme` has its links as the site has them; its heading gives way to the lab's name."""
    runs = material.runs.get(lab.slug, ())
    rows = [s for s in material.plan if lab.name in s.labs]
    facts = [
        (words("needs"), lab.needs), (words("stack"), lab.stack), (words("model"), models(lab)),
        (words("upstream"), lab.upstream),
        (words("rows"), ", ".join(f"{s.row} {s.en if words.language == 'en' else s.zh}" for s in rows)),
        (words("last_run"), state(runs[0][1], words) if runs else words("never")),
    ]  # fmt: skip
    steps = [(name, step_cell(step)) for name, step in lab.steps.items()]
    parts = [
        f"# {lab.name}", str(plain(lab.title)), table(("", ""), facts), without_heading(readme),
        f"## {words('steps')}", table((words("step"), f"{words('command')}, {words('proves')}"), steps),
        "## lab.yaml", code(lab.file.read_text(encoding="utf-8"), "yaml"),
        *last_runs(runs, page, words), *main_line(lab, page, material, words),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def without_heading(readme: str) -> str:
    """A README without its first line, the title, which the page says already."""
    return readme.partition("\n")[2].strip() if readme.startswith("# ") else readme.strip()


def step_cell(step: Step) -> Markup:
    """A step's command, and below it what it must prove."""
    proofs = [Markup("✓ {}").format(plain(proof)) for proof in step.proves]
    return Markup("<br>").join([Markup("<code>{}</code>").format(plain(step.run)), *proofs])


def main_line(lab: Lab, page: str, material: Material, words: Words) -> Iterator[str]:
    """Links to its commands' main lines, and the charts that were traced in it."""
    used = [" ".join(step.argv[:2]) for step in lab.steps.values()]
    found = [part for part in material.main_line if part.command in used or part.lab == lab.name]
    if found:
        to = relative(MAIN_LINE, page)
        links = ", ".join(link(part.command, f"{to}#{part.command.replace(' ', '-')}") for part in found)
        yield f"## {words('main_line')}"
        yield f"{words('main_line_of')} {links}"
        for part in found:
            if part.lab == lab.name:
                yield f'??? abstract "{part.command}"\n\n{textwrap.indent(part.chart, " " * 4)}'


def last_runs(runs: Sequence[tuple[Path, RunRecord | UsageError]], page: str, words: Words) -> Iterator[str]:
    """Its last runs, each with its report."""
    if not runs:
        return
    yield f"## {words('last_runs')}"
    head = ("run", "profile", "state", "seconds", "proofs", "figures")
    yield table([words(name) for name in head], [row(folder, record, page, words) for folder, record in runs])
    yield words("note")


def row(folder: Path, record: RunRecord | UsageError, page: str, words: Words) -> list[object]:
    """A run in a line."""
    name = report_link(folder, page)
    if isinstance(record, UsageError):
        return [name, "", state(record, words), "", "", short(record.message)]
    proofs = record.proofs
    said = [short(failure) for failure in record.failures[:1]]
    said += [f"{step.step}: {text}" for step in record.steps if (text := figures(step.metrics))]
    return [
        name, record.profile, state(record, words), f"{record.seconds:.0f}",
        f"{sum(proof.holds for proof in proofs)} / {len(proofs)}",
        Markup("<br>").join(plain(text) for text in said),
    ]  # fmt: skip


def short(text: str) -> str:
    """A failure as the site shows it."""
    text = redact.text(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def state(record: RunRecord | UsageError, words: Words) -> Markup:
    """How a run ended, in its colour."""
    return coloured(record.state if isinstance(record, RunRecord) else UNREADABLE, words)


def coloured(state: str, words: Words) -> Markup:
    """A state in its colour, which site.css knows by its name."""
    return Markup('<span class="state {}">{}</span>').format(state.replace(" ", "-"), words.state(state))


def day(date: str) -> Markup:
    """A date that stays on one line."""
    return Markup('<span class="day">{}</span>').format(date)


def report_link(folder: Path, page: str) -> Markup:
    """A run's name; it leads to its report where it has one."""
    if not (folder / REPORT).is_file():
        return plain(folder.name)
    to = relative(f"../{report_place(folder)}", page)
    return Markup('<a href="{}">{}</a>').format(to, folder.name)


def report_place(folder: Path) -> str:
    """Where the site has a run's report: beside the languages."""
    return f"runs/{folder.parent.name}/{folder.name}.html"
