"""docs/swift-project.md, made of the installed ms-swift: python -m gpulab.reports.swift_project"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from pydantic import BaseModel, ConfigDict

from gpulab.common.files import write_atomically
from gpulab.common.paths import ROOT
from gpulab.common.yamlfile import load_as
from gpulab.reports.module_map import NAME, Source, entry
from gpulab.reports.traces.chart import markdown
from gpulab.stacks.stack import load_stack

PAGE = ROOT / "docs" / "swift-project.md"


class Comment(BaseModel):
    """What is said of a place."""

    model_config = ConfigDict(extra="forbid")
    en: str
    zh: str


class Line(Comment):
    """A line of a file, by a part of its text; `once: last` where earlier lines have that part, too."""

    file: str
    at: str
    once: Literal["", "last"] = ""


class Test(Comment):
    """A test of ms-swift, and the labs beside which it is read."""

    file: str
    labs: list[str]


class ProjectFile(BaseModel):
    """swift_project.yml."""

    model_config = ConfigDict(extra="forbid")
    entry_points: dict[str, Comment]
    start: list[Line]
    tests: list[Test]
    texts: dict[str, str]


def written() -> ProjectFile:
    """swift_project.yml."""
    return load_as(ProjectFile, Path(__file__).with_suffix(".yml"))


def packaging(source: Source, said: ProjectFile) -> list[str]:
    """What the package says of itself: its entry points, what it needs, its extras."""
    comments = said.entry_points
    rows = [
        [f"`{e.group}`", f"`{e.name}`", f"`{entry(source, e.value)}`", comments[e.group].en, comments[e.group].zh]
        for e in sorted(source.distribution.entry_points, key=lambda e: (e.group, e.name))
    ]
    needs = [Requirement(line) for line in source.distribution.requires or []]
    always = [need.name for need in needs if not need.marker or "extra" not in str(need.marker)]
    extras = source.distribution.metadata.get_all("Provides-Extra") or []
    of = {e: list(dict.fromkeys(n.name for n in needs if f'extra == "{e}"' in str(n.marker))) for e in extras}
    of = {extra: [name for name in names if name not in always] for extra, names in of.items()}
    packages = ", ".join(f"`{name}`" for name in sorted(always, key=str.lower))
    return [
        said.texts["packaging"], markdown(["group", "name", "where", "what it does", "说明"], rows),
        said.texts["needs"].format(count=len(always), packages=packages),
        markdown(["extra", "brings"], [[f"`{e}`", ", ".join(f"`{n}`" for n in of[e])] for e in sorted(of) if of[e]]),
    ]  # fmt: skip


def place(source: Source, line: Line) -> str:
    """A line as `file:line`. Raises KeyError where it is not there, or more than once."""
    text = (source.site / line.file).read_text(encoding="utf-8").splitlines()
    found = [number for number, written in enumerate(text, 1) if line.at in written]
    if not found or (len(found) > 1 and not line.once):
        raise KeyError(f"{NAME} {source.distribution.version}: {line.file} has {line.at!r} {len(found)} times")
    return f"{line.file}:{found[-1]}"


def page(source: Source) -> str:
    """The page."""
    said = written()
    start = [[f"`{place(source, line)}`", f"`{line.at}`", line.en, line.zh] for line in said.start]
    tests = [
        [f"`{t.file}`", "<br/>".join(f"[{lab}](../labs/{lab}/README.md)" for lab in t.labs), t.en, t.zh]
        for t in said.tests
    ]
    parts = [
        said.texts["head"].format(name=NAME, version=source.distribution.version), *packaging(source, said),
        said.texts["start"], markdown(["where", "line", "comment", "注释"], start),
        said.texts["tests"], markdown(["test", "labs", "what it shows", "说明"], tests), said.texts["checks"],
    ]  # fmt: skip
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def main() -> None:
    """Write the page."""
    write_atomically(PAGE, page(Source.of(load_stack("cpu"))))


if __name__ == "__main__":
    main()
