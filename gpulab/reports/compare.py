"""`inv compare`: runs side by side, as a table and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.files import write_atomically
from gpulab.common.listing import listing
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.records.read import find_run, read, run_name
from gpulab.records.record import RunRecord
from gpulab.reports.differences import beside
from gpulab.reports.page import chart, render
from gpulab.reports.report import COLOURS
from gpulab.reports.series import Curve, training

FILE = "compare.html"
WIDEST = 100  # letters of a value in the table; the page has them all


def compare(run: str, others: str) -> Outcome:
    """Compare a run with others, parted by commas. The page lies in the last one's folder."""
    folders = list(dict.fromkeys(find_run(name) for name in f"{run} {others}".replace(",", " ").split()))
    if len(folders) < 2:
        raise UsageError("a comparison needs two runs or more, each named once", "./inv runs lists them")
    runs = [(folder, read(folder)) for folder in folders]
    groups = beside(runs)
    parts: list[Any] = [Text(line) for line in told(runs)]
    for group, rows in groups.items():
        table = listing(group, *(str(n) for n in range(1, len(runs) + 1)), wraps=group)
        for column in table.columns:  # a path has no words to break between
            column.no_wrap, column.overflow = False, "fold"
        for row in rows:
            table.add_row(Text(row.name), *(Text(value(one)) for one in row.values))
        parts += [table] if rows else []
    page = folders[-1] / FILE
    write_atomically(page, page_of(runs), mode=0o600)
    parts.append(Text(f"with curves: {shown(page)}", style="dim"))
    data = {group: {row.name: row.values for row in rows} for group, rows in groups.items()}
    return Outcome({"runs": [record.run for _, record in runs], **data, "page": page}, text=Group(*parts))


def told(runs: Sequence[tuple[Path, RunRecord]]) -> list[str]:
    """A line for each run, with the number that stands above its column."""
    return [f"{n}  {r.run}  {r.profile}, {r.state}, {r.seconds:.0f} s" for n, (_, r) in enumerate(runs, 1)]


def value(one: object) -> str:
    """A value as the table has room for it: of a long one its begin and its end."""
    text = "-" if one is None else f"{one:.4g}" if isinstance(one, (int, float)) else str(one)
    return text if len(text) <= WIDEST else f"{text[: WIDEST // 2]}…{text[1 - WIDEST // 2 :]}"


def page_of(runs: Sequence[tuple[Path, RunRecord]]) -> str:
    """The page's HTML: the same figure of all runs in one chart."""
    drawn: dict[str, list[Curve]] = {}
    for number, (folder, record) in enumerate(runs, 1):
        for name, curves in training(folder, record).items():
            drawn.setdefault(name, []).extend(Curve(f"{number} {c.label}", c.x, c.y) for c in curves)
    return render(
        "compare.html.j2", title=f"{len(runs)} runs compared", groups=beside(runs),
        names=[str(n) for n in range(1, len(runs) + 1)],
        runs=[{"name": f"{n} {run_name(folder)}", "title": r.title, "profile": r.profile, "state": r.state,
               "colour": COLOURS.get(r.state, "")} for n, (folder, r) in enumerate(runs, 1)],
        curves=[chart(name, {"": curves}, "training step") for name, curves in drawn.items()],
    )  # fmt: skip
