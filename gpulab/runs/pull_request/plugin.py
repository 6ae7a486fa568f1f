"""A plugin of labs/extend as ms-swift's own files: its class, its test, its place in the map of its flag."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import LABS
from gpulab.common.yamlfile import load_as

OWNER = "# Copyright (c) ModelScope Contributors. All rights reserved.\n"
LATE = "from __future__ import annotations"  # ms-swift runs on Pythons that know no X | None
MODULE, TEST = "plugin", "test_plugin.py"


class Said(BaseModel):
    """What ms-swift's documentation is to say of a plugin, and the flag that chooses it."""

    model_config = ConfigDict(extra="forbid")
    flag: str
    en: str
    zh: str


class SaidFile(BaseModel):
    """plugins.yml."""

    model_config = ConfigDict(extra="forbid")
    plugins: dict[str, Said]


@dataclass(frozen=True)
class Plugin:
    """A class that a lab registers: the name it gets, the map, and the file that it stands in."""

    name: str
    cls: str
    registry: str
    file: Path

    @cached_property
    def package(self) -> str:
        """The package of ms-swift that has the map."""
        for statement in Source.of(self.file).body:
            if isinstance(statement, ast.ImportFrom) and self.registry in {a.name for a in statement.names}:
                return (statement.module or "").split(".")[1]
        raise KeyError(f"{self.file} does not import {self.registry}")

    @property
    def said(self) -> Said:
        """What is said of it."""
        return said()[self.name]

    @property
    def lab(self) -> str:
        """The lab it is from."""
        return str(self.file.parent.relative_to(LABS))

    @property
    def module(self) -> str:
        """Its file in ms-swift."""
        return f"swift/{self.package}/{self.name}.py"

    @property
    def test(self) -> str:
        """Its test's file there."""
        return f"tests/{self.package}/test_{self.name}.py"

    def source(self) -> str:
        """The module: the class with the imports and constants that it uses."""
        own = Source.of(self.file)
        (cls,) = [s for s in own.classes if s.name == self.cls]
        above = [self._inside(statement, own) for statement in own.needed([cls])]
        return OWNER + "\n".join([LATE, *above, "", "", own.text(cls)]) + "\n"

    def test_source(self) -> str:
        """Its test: the classes of the lab's test that name it."""
        own = Source.of(self.file.with_name(TEST))
        kept = [cls for cls in own.classes if self._named_in(cls)]
        above = [ast.unparse(statement) for statement in own.needed(kept) if imported(statement) != [MODULE]]
        ours = f"{MODULE}.{self.cls}"
        body = [own.text(cls) for cls in kept]
        if any(ours in text for text in body):
            above.append(f"from swift.{self.package}.{self.name} import {self.cls}")
        body = [text.replace(ours, self.cls) for text in body]
        end = "if __name__ == '__main__':\n    unittest.main()"
        return OWNER + "\n\n\n".join(["\n".join(above), *body, end]) + "\n"

    def registered(self, mapping: str) -> str:
        """The map's file with this one in it. Raises UsageError where it has no such map, or has the name already."""
        found = [
            s.value for s in ast.parse(mapping).body
            if isinstance(s, ast.Assign) and isinstance(s.value, ast.Dict)
            and self.registry in {t.id for t in s.targets if isinstance(t, ast.Name)}
        ]  # fmt: skip
        file = f"swift/{self.package}/mapping.py"
        if not found or not found[0].values:
            raise UsageError(f"{file} has no {self.registry}", "a clone of ms-swift as new as the stacks' version")
        if self.name in {key.value for key in found[0].keys if isinstance(key, ast.Constant)}:
            raise UsageError(f"{file} has {self.name} already", "a commit without it, or another plugin")
        last = found[0].values[-1]
        assert last.end_lineno and last.end_col_offset  # noqa: S101 (ast.parse gives both)
        lines = mapping.splitlines(keepends=True)
        line = lines[last.end_lineno - 1].encode()
        before, after = line[: last.end_col_offset].decode(), line[last.end_col_offset :].decode()
        lines[last.end_lineno - 1] = f"{before},\n    '{self.name}': {self.cls}{after}"
        at = max(s.end_lineno or 0 for s in ast.parse(mapping).body if isinstance(s, ast.ImportFrom))
        return "".join([*lines[:at], f"from .{self.name} import {self.cls}\n", *lines[at:]])

    def _inside(self, statement: ast.stmt, own: Source) -> str:
        """A statement as a module of that package has it: what it needs of the package is in its base."""
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(f"swift.{self.package}"):
            return f"from .base import {', '.join(alias.name for alias in statement.names)}"
        return ast.unparse(statement) if imported(statement) else own.text(statement)

    def _named_in(self, statement: ast.stmt) -> bool:
        """Whether a statement names its class or the name it is registered under."""
        return any(
            (isinstance(n, ast.Attribute) and n.attr == self.cls)
            or (isinstance(n, ast.Constant) and n.value == self.name)
            for n in ast.walk(statement)
        )


@dataclass(frozen=True)
class Source:
    """A file: its text, its statements."""

    whole: str
    body: list[ast.stmt]

    @classmethod
    def of(cls, file: Path) -> Source:
        """That file's."""
        text = file.read_text(encoding="utf-8")
        return cls(text, ast.parse(text).body)

    @property
    def classes(self) -> list[ast.ClassDef]:
        """Its classes."""
        return [s for s in self.body if isinstance(s, ast.ClassDef)]

    def text(self, statement: ast.stmt) -> str:
        """A statement as it is written, comments too."""
        return "\n".join(self.whole.splitlines()[statement.lineno - 1 : statement.end_lineno])

    def needed(self, kept: list[ast.ClassDef]) -> Iterator[ast.stmt]:
        """The imports and constants that these classes use, each import with the used names alone."""
        used = {n.id for cls in kept for n in ast.walk(cls) if isinstance(n, ast.Name)} | {"unittest"}
        for statement in self.body:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                statement.names = [a for a in statement.names if (a.asname or a.name.split(".")[0]) in used]
                if statement.names:
                    yield statement
            elif isinstance(statement, ast.Assign) and used & {
                t.id for t in statement.targets if isinstance(t, ast.Name)
            }:
                yield statement


def said() -> dict[str, Said]:
    """plugins.yml."""
    return load_as(SaidFile, Path(__file__).with_name("plugins.yml")).plugins


def plugins() -> dict[str, Plugin]:
    """What labs/extend registers in a map of ms-swift and plugins.yml has words for, by its name there."""
    found, known = {}, said()
    for file in sorted((LABS / "extend").glob(f"*/{MODULE}.py")):
        for statement in Source.of(file).body:
            match statement:
                case ast.Assign(
                    targets=[ast.Subscript(ast.Name(registry), ast.Constant(str(name)))], value=ast.Name(cls)
                ) if name in known:
                    found[name] = Plugin(name, cls, registry, file)
    return found


def find_plugin(name: str) -> Plugin:
    """The one of that name. Raises UsageError where there is none."""
    known = plugins()
    if name not in known:
        raise UsageError(f"labs/extend registers no {name!r}", nearest(name, list(known)))
    return known[name]


def imported(statement: ast.stmt) -> list[str]:
    """The names that an import brings."""
    if not isinstance(statement, (ast.Import, ast.ImportFrom)):
        return []
    return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
