"""The acceptance of machines as a page for each reader: a table here, JSON for programs, HTML for the purchase file."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from gpulab.checks.acceptance import Finding, judge, machines

UNITS = {"_gbs": "GB/s", "_tflops": "TFLOP/s", "_c": "°C", "_mhz": "MHz", "seconds": "s"}
PASSED = {True: Text("pass", "green"), False: Text("FAIL", "bold red"), None: Text("-", "dim")}


def write(out: Path, folder: Path) -> tuple[list[dict[str, Any]], Group]:
    """Judge what the step in `out` measured, and leave acceptance.json and acceptance.html in `folder`: a row for each
    host, and the page."""
    ranks = machines(out)
    findings = judge(ranks)
    rows = by_host(ranks, findings)
    shown = page(ranks, findings, rows)
    data = {"hosts": rows, "findings": [dataclasses.asdict(f) for f in findings], "ranks": ranks}
    (folder / "acceptance.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    recorder = Console(record=True, width=110, file=io.StringIO())
    recorder.print(shown)
    (folder / "acceptance.html").write_text(recorder.export_html(), encoding="utf-8")
    return rows, shown


def by_host(ranks: Sequence[dict[str, Any]], findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """A row for each host: its devices, and the figures that failed."""
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for rank in ranks:
        row = rows.setdefault(
            (rank["node_rank"], rank["host"]), {"host": rank["host"], "devices": [], "passed": True, "failed": []}
        )
        row["devices"].append(rank["device"])
        failed = [f.line for f in findings if f.rank == rank["rank"] and not f.passed]
        row["failed"] += failed
        row["passed"] = not row["failed"]
    return list(rows.values())


def page(ranks: Sequence[dict[str, Any]], findings: Sequence[Finding], rows: Sequence[dict[str, Any]]) -> Group:
    """A table for each host, and a line for all."""
    judged = {(f.rank, f.figure): f for f in findings}
    tables = []
    for rank in ranks:
        table = Table(title=f"{rank['host']}, rank {rank['rank']}: {rank['device']}", title_justify="left", box=None)
        for column in ("figure", "measured", "needed", ""):
            table.add_column(column, justify="right" if column == "measured" else "left")
        for name, value in rank["figures"].items():
            finding = judged.get((rank["rank"], name))
            verdict = PASSED[finding.passed if finding else None]
            table.add_row(name, with_unit(name, float(value)), finding.needed if finding else "", verdict)
        tables.append(table)
    good = sum(row["passed"] for row in rows)
    total = Text(f"\n{good} of {len(rows)} hosts pass", "green" if good == len(rows) else "bold red")
    return Group(*tables, total)


def with_unit(name: str, value: float) -> str:
    """A figure as one reads it."""
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
    return f"{value:.4g} {unit}".rstrip()
