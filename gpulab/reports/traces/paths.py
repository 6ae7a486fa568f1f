"""The code behind each flag of a step: which class defines it, where that is, where it is first read."""

from __future__ import annotations

from collections.abc import Iterable

from gpulab.reports.traces.chart import markdown
from gpulab.reports.traces.read import Read, Trace

HEAD = ("flag", "class and field", "defined", "first read by the arguments", "first read elsewhere")


def code_paths(trace: Trace, flags: Iterable[str]) -> list[list[str]]:
    """A row for each flag that a class of arguments knows."""
    return [
        [f"`--{flag}`", f"`{trace.fields[flag][0]}.{flag}`", f"`{trace.fields[flag][1]}`",
         said(trace.reads.get(flag), unless=trace.outside.get(flag)), said(trace.outside.get(flag))]
        for flag in dict.fromkeys(flags) if flag in trace.fields
    ]  # fmt: skip


def said(read: Read | None, unless: Read | None = None) -> str:
    """A read as a cell."""
    return f"`{read.function}` `{read.place}`" if read and read != unless else ""


def table(trace: Trace, flags: Iterable[str]) -> str:
    """The rows as Markdown."""
    return markdown(HEAD, code_paths(trace, flags))
