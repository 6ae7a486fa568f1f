"""docs/module-map.md, made of the installed ms-swift without importing it: python -m gpulab.reports.module_map"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from gpulab.common.files import write_atomically
from gpulab.common.paths import ROOT
from gpulab.common.yamlfile import load_as
from gpulab.reports.traces.chart import markdown
from gpulab.stacks.stack import Stack, load_stack

PAGE = ROOT / "docs" / "module-map.md"
NAME = "ms-swift"
ARROWS = 2  # of each package in the diagram
EVERYWHERE = {"utils"}  # what all import says nothing
HEAD = """\
<!-- Made by `python -m gpulab.reports.module_map` from the installed package. -->
# The modules of ms-swift

{name} {version}, as the stack `cpu` installs it; files are below `site-packages`. What a command does with them, and in
which order: [the main line](main-line.md). How it is packed and started: [ms-swift as a project](swift-project.md).
"""


class Package(BaseModel):
    """What a package is for, and the names to begin reading with."""

    model_config = ConfigDict(extra="forbid")
    en: str
    zh: str
    begin: list[str]


class MapFile(BaseModel):
    """module_map.yml."""

    model_config = ConfigDict(extra="forbid")
    packages: dict[str, Package]
    registries: dict[str, str]


@dataclass
class Module:
    """A file: its tree, its place below site-packages, its package below swift, its lines."""

    tree: ast.Module
    place: str
    package: str
    lines: int

    def imports(self) -> Iterator[str]:
        """The packages of ms-swift that it imports from, one for each statement."""
        inside = self.place.split("/")[:-1]
        for part in ast.walk(self.tree):
            if isinstance(part, ast.ImportFrom):
                base = inside[: len(inside) - part.level + 1] if part.level else []
                path = [*base, *(part.module or "").split(".")]
                if path[0] == "swift" and len(path) > 1 and path[1]:
                    yield path[1]
                elif path[0] == "swift":  # from swift import x, from .. import x
                    yield from (alias.name for alias in part.names)


@dataclass
class Source:
    """The installed package: the folder it is in, its modules, and where each name of a module's top is defined."""

    site: Path
    modules: list[Module]
    distribution: Distribution
    places: dict[str, list[tuple[str, ast.stmt]]] = field(default_factory=dict)

    @classmethod
    def of(cls, stack: Stack) -> Source:
        """What that stack's venv has."""
        (site,) = stack.venv.glob("lib/python3*/site-packages")
        modules = []
        for file in sorted((site / "swift").rglob("*.py")):
            text, place = file.read_text(encoding="utf-8"), file.relative_to(site)
            package = place.parts[1] if len(place.parts) > 2 else ""
            modules.append(Module(ast.parse(text), str(place), package, len(text.splitlines())))
        (found,) = distributions(path=[str(site)], name=NAME)
        source = cls(site, modules, found)
        for module in modules:
            for part in module.tree.body:
                for name in names(part):
                    source.places.setdefault(name, []).append((module.place, part))
        return source

    def find(self, name: str, package: str = "") -> tuple[str, ast.stmt]:
        """Where a name is defined, as `file:line`, and its statement; of several the one in that package."""
        found = self.places.get(name, [])
        found = [place for place in found if place[0].startswith(f"swift/{package}")] or found
        if not found:
            raise KeyError(f"{NAME} {self.distribution.version} has no {name}")
        file, part = min(found, key=lambda place: len(place[0]))
        return f"{file}:{part.lineno}", part


def names(part: ast.stmt) -> list[str]:
    """What a statement of a module defines."""
    if isinstance(part, (ast.FunctionDef, ast.ClassDef)):
        return [part.name]
    targets = part.targets if isinstance(part, ast.Assign) else [part.target] if isinstance(part, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def entry(source: Source, value: str) -> str:
    """Where an entry point `module:function` is."""
    module, _, name = value.partition(":")
    file = module.replace(".", "/") + ".py"
    return next(f"{place}:{part.lineno}" for place, part in source.places[name] if place == file)


def commands(source: Source) -> str:
    """Each command: its module, its main function, the class that does it, the class of its arguments."""
    rows = []
    for program, file in (("swift", "swift/cli/main.py"), ("megatron", "swift/cli/_megatron/main.py")):
        table = next(part for place, part in source.places["ROUTE_MAPPING"] if place == file)
        assert isinstance(table, ast.AnnAssign) and table.value  # noqa: S101 (as ms-swift writes it)
        for command, module in ast.literal_eval(table.value).items():
            rows.append([f"`{program} {command}`", f"`{module}`", *called(source, module)])
    return markdown(["command", "module", "main function", "class", "arguments"], rows)


def called(source: Source, module: str) -> list[str]:
    """The main function that a command's module calls, the pipeline that it makes, its argument class."""
    file = module.replace(".", "/") + ".py"
    tree = next(found.tree for found in source.modules if found.place == file)
    imported = [a.name for part in ast.walk(tree) if isinstance(part, ast.ImportFrom) for a in part.names]
    main = next((name for name in imported if name.endswith("_main") or name == "merge_lora"), "")
    if not main:
        return ["", "", ""]
    place, function = source.find(main)
    made = [p.func.id for p in ast.walk(function) if isinstance(p, ast.Call) and isinstance(p.func, ast.Name)]
    pipeline = next((name for name in made if isinstance(source.places.get(name, [(0, None)])[0][1], ast.ClassDef)), "")
    if not pipeline:
        return [cell(main, place), "", ""]
    where, part = source.find(pipeline)
    assert isinstance(part, ast.ClassDef)  # noqa: S101 (asked just above)
    kinds = [p.value.id for p in part.body if isinstance(p, ast.Assign) and isinstance(p.value, ast.Name)
             and names(p) == ["args_class"]]  # fmt: skip
    return [cell(main, place), cell(pipeline, where), cell(kinds[0], source.find(kinds[0])[0]) if kinds else ""]


def cell(name: str, place: str) -> str:
    """A name and its place."""
    return f"`{name}` `{place}`"


def packages(source: Source, written: MapFile) -> str:
    """Every package, and a diagram of who imports whom most."""
    rows, arrows = [], []
    for name in sorted({module.package for module in source.modules} - {""}):
        own = [module for module in source.modules if module.package == name]
        said = written.packages[name]
        imported = Counter(package for module in own for package in module.imports())
        most = [p for p, _ in sorted(imported.items(), key=lambda item: (-item[1], item[0])) if p in written.packages]
        others = [package for package in most if package not in {name, *EVERYWHERE}]
        begin = "<br/>".join(cell(n, source.find(n, name)[0]) for n in said.begin)
        rows.append([f"`{name}`", said.en, said.zh, str(len(own)), str(sum(m.lines for m in own)), begin,
                     ", ".join(others)])  # fmt: skip
        arrows += [f"  {name} --> {other}" for other in others[:ARROWS]]
    head = ["package", "what it is for", "", "files", "lines", "begin with", "imports, most first"]
    diagram = "\n".join(["```mermaid", "flowchart LR", *arrows, "```"])
    return f"{markdown(head, rows)}\n\nWhat each imports from most, `utils` aside:\n\n{diagram}"


def registries(source: Source, written: MapFile) -> str:
    """Where plugins register."""
    rows = [[f"`{name}`", f"`{source.find(name)[0]}`", f"`{flag}`"] for name, flag in written.registries.items()]
    return markdown(["registry", "where", "chosen by"], rows)


def page(source: Source) -> str:
    """The page."""
    written = load_as(MapFile, Path(__file__).with_suffix(".yml"))
    parts = [
        HEAD.format(name=NAME, version=source.distribution.version).rstrip(),
        "## Commands", commands(source),
        "## Packages", packages(source, written),
        "## Registries", "A file of `--external_plugins` puts what it adds into one of these, and a flag names it.",
        registries(source, written),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the page."""
    write_atomically(PAGE, page(Source.of(load_stack("cpu"))))


if __name__ == "__main__":
    main()
