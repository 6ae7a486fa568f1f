"""A step's trace as inside/tracing/tracer.py left it: its calls in one tree, the fields that its code read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(eq=False)
class Call:
    """A function under one caller: how often it was called there, and how many seconds that took in all."""

    name: str
    file: str
    line: int
    at: float
    above: Call | None
    calls: int = 0
    seconds: float = 0.0
    below: list[Call] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where it is defined."""
        return f"{self.file}:{self.line}"

    @property
    def function(self) -> tuple[str, str]:
        """What it is, whoever calls it."""
        return self.file, self.name

    def callers(self) -> Iterator[Call]:
        """Who called it, who called that one, ..."""
        above = self.above
        while above:
            yield above
            above = above.above


@dataclass(frozen=True)
class Read:
    """The first place where a field was read."""

    place: str
    function: str


@dataclass
class Trace:
    """`calls` in the order in which they were first made; `fields`: each argument's class and where that defines it;
    `reads`: the first read of each at all; `outside`: the first one outside of the arguments' own code."""

    calls: list[Call] = field(default_factory=list)
    fields: dict[str, tuple[str, str]] = field(default_factory=dict)
    reads: dict[str, Read] = field(default_factory=dict)
    outside: dict[str, Read] = field(default_factory=dict)

    @property
    def roots(self) -> list[Call]:
        """Those that nothing of the trace called."""
        return [call for call in self.calls if call.above is None]


def read_trace(folder: Path) -> Trace | None:
    """The trace in a step's folder; None where nothing of ms-swift ran. Of several ranks it is one's."""
    processes = [rows for file in sorted(folder.glob("*.jsonl")) if (rows := rows_of(file))]
    trace = Trace()
    for rows in chain(processes):
        _add(trace, rows)
    trace.calls.sort(key=lambda call: call.at)
    return trace if trace.calls else None


def rows_of(file: Path) -> list[dict[str, Any]]:
    """Its lines; the last one of a process that was killed may be half a line."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    rows = [json.loads(line) for line in lines if line.endswith("}\n")]
    return rows if rows and "process" in rows[0] else []


def chain(processes: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """A process of those that nothing of the trace started, one of its children, and so on: of several that stand side
    by side, such as ranks, the one in whose family most was called."""
    by_parent: dict[int, list[list[dict[str, Any]]]] = {}
    numbers = {rows[0]["process"] for rows in processes}
    for rows in processes:
        parent = rows[0]["parent"]
        by_parent.setdefault(parent if parent in numbers else 0, []).append(rows)

    def weight(rows: list[dict[str, Any]]) -> int:
        return len(rows) + sum(weight(child) for child in by_parent.get(rows[0]["process"], ()))

    found, beside = [], by_parent.get(0, [])
    while beside:
        found.append(max(beside, key=weight))
        beside = by_parent.get(found[-1][0]["process"], [])
    return found


def _add(trace: Trace, rows: list[dict[str, Any]]) -> None:
    began, calls = rows[0]["began"], dict[str, Call]()
    for row in rows:
        if "id" in row:
            above = calls.get(str(row["by"]))
            call = Call(row["name"], row["file"], row["line"], began + row["at"], above)
            calls[str(row["id"])] = call
            trace.calls.append(call)
            if above:
                above.below.append(call)
        for number, (count, seconds) in row.get("times", {}).items():
            calls[number].calls, calls[number].seconds = count, seconds
        for name, (kind, file, line) in row.get("fields", {}).items():
            trace.fields.setdefault(name, (kind, f"{file}:{line}"))
        if name := row.get("read"):
            seen = Read(f"{row['file']}:{row['line']}", row["in"])
            trace.reads.setdefault(name, seen)
            if row["outside"]:
                trace.outside.setdefault(name, seen)
