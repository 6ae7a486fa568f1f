"""What a data file may be: short UTF-8 text, one YAML document, not deep, nothing endless, plain keys, each once.

A parser in C runs out of stack on deep nesting and out of time on aliases of aliases: both are measured before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gpulab.common.errors import UsageError
from gpulab.common.paths import shown
from gpulab.common.text_files import CONTROL, contents, decoded

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_VALUES = 20_000  # with each alias counted as what it stands for
KINDS = ("null", "bool", "int", "float", "str", "timestamp", "merge", "seq", "map")
PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in KINDS}


class Loader(yaml.CSafeLoader):
    """PyYAML's safe loader; a value that its tag cannot hold (`!!int two`, 30 February) is an error with a line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def text_of(path: Path) -> str:
    """The text in `path`. Raises UsageError for what is no text file of a bearable size."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{shown(path)}: not a file", "a text file has to be there")
    if not path.exists():
        raise UsageError(f"{shown(path)}: no such file", "check the name")
    return decoded(path, contents(path, MAX_BYTES, "keep data in files of their own"))


def compose(path: Path) -> yaml.Node | None:
    """The checked YAML in `path`, None where it is empty. Raises UsageError with file and line."""
    text = text_of(path)
    try:
        depth = 0
        for event in yaml.parse(text, Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise _too_deep(path, event)
        node: yaml.Node | None = yaml.compose(text, Loader)
    except yaml.YAMLError as error:
        raise explained(path, error, text) from None
    if node is not None:
        _Check(path).measure(node)
    return node


def explained(path: Path, error: yaml.YAMLError, text: str = "") -> UsageError:
    """What the YAML parser said of `text`, in one line with its place, and a cure."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or "not YAML").splitlines()[0]
    cure = "check indentation, quotes and colons there"
    if "found character that cannot start any token" in problem and mark:
        there = text.split("\n")[mark.line][mark.column : mark.column + 1]
        if there in ("", "\t"):
            problem, cure = "a tab", "indent with spaces, YAML knows no tabs"
        else:
            problem, cure = f"a value cannot start with {there}", "put it in quotes"
    elif isinstance(error, yaml.constructor.ConstructorError):
        cure = "write a plain value, or put it in quotes"
    return UsageError(f"{shown(path)}:{mark.line + 1 if mark else 1}: {problem}", cure)


def _too_deep(path: Path, at: Any) -> UsageError:
    line = at.start_mark.line + 1
    return UsageError(f"{shown(path)}:{line}: nested deeper than {MAX_DEPTH} levels", "write it flatter")


class _Check:
    """One walk over a document's nodes; what an alias stands for is measured once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.measured: dict[int, tuple[int, int]] = {}  # by node: how many values, how many levels
        self.open: set[int] = set()

    def wrong(self, node: yaml.Node, message: str, cure: str) -> UsageError:
        return UsageError(f"{shown(self.path)}:{node.start_mark.line + 1}: {message}", cure)

    def measure(self, node: yaml.Node) -> tuple[int, int]:
        """(how many values, how many levels) with all aliases unfolded."""
        if id(node) in self.open:
            raise self.wrong(node, "it contains itself, by an alias", "write the value where it belongs")
        if id(node) in self.measured:
            return self.measured[id(node)]
        self.open.add(id(node))
        if node.tag not in PLAIN:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")[:40]
            raise self.wrong(node, f"the tag {tag!r} is not known here", "write a plain value, or put it in quotes")
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            self.keys(node)
            inside = [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            inside = node.value
        else:
            self.scalar(node)
        sizes = [self.measure(value) for value in inside]
        size, depth = 1 + sum(s for s, _ in sizes), 1 + max((d for _, d in sizes), default=0)
        if size > MAX_VALUES:
            raise self.wrong(node, f"more than {MAX_VALUES} values, aliases unfolded", "write fewer, or no aliases")
        if depth > MAX_DEPTH + 1:
            raise _too_deep(self.path, node)
        self.open.remove(id(node))
        self.measured[id(node)] = size, depth
        return size, depth

    def keys(self, node: yaml.MappingNode) -> None:
        """Keys are words of one line, each of them there once."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.wrong(key, "a key is a list or a mapping", "a key is one word; quote a value with { or [")
            self.scalar(key)
            if len(key.value.splitlines()) > 1:
                raise self.wrong(key, f"the key {key.value[:40]!r} has a line break", "a key is one word")
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                kind = key.tag.rpartition(":")[2]
                raise self.wrong(key, f"the key {key.value[:40]!r} reads as {kind}, not as text", "put it in quotes")
            line = key.start_mark.line + 1
            if key.value in seen:
                raise self.wrong(key, f"{key.value!r} stands here and on line {seen[key.value]}", "keep one")
            seen[key.value] = line

    def scalar(self, node: yaml.Node) -> None:
        if found := CONTROL.search(node.value):
            raise self.wrong(node, f"control character {found[0]!r} in a value", "remove it")
