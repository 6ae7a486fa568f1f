"""YAML with lines: every error about a data file names file and line."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import shown
from gpulab.common.yaml_limits import Loader, compose, explained

Model = TypeVar("Model", bound=BaseModel)


def load(path: Path) -> Any:
    """The data in `path`. Raises UsageError with file and line for what is not YAML or no data file (yaml_limits)."""
    node = compose(path)
    if node is None:
        return {}
    try:
        return Loader("").construct_document(node)
    except yaml.YAMLError as error:
        raise explained(path, error) from None


def load_mapping(path: Path) -> dict[str, Any]:
    """The `key: value` lines in `path`. Raises UsageError as `load` does, and for a list or a single value."""
    data = load(path)
    if not isinstance(data, dict):
        raise UsageError(f"{shown(path)}:1: not a mapping", "write `key: value` lines")
    return data


def line_of(path: Path, where: Sequence[str | int]) -> int:
    """The line (from 1) of the deepest part of `where`, a path of keys, indices and words of lists, that there is."""
    node = compose(path)
    line = 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            pair = next((p for p in node.value if p[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, str):
            item = next((n for n in node.value if isinstance(n, yaml.ScalarNode) and n.value == part), None)
            if item is None:
                break
            line, node = item.start_mark.line + 1, item
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def fault(path: Path, where: Sequence[str | int], message: str, cure: str = "") -> UsageError:
    """A UsageError about one place of a YAML file."""
    return UsageError(f"{shown(path)}:{line_of(path, where)}: {message}", cure)


def load_as(model: type[Model], path: Path) -> Model:
    """The data in `path` as `model`. Raises UsageError with file and line for the first thing that does not fit."""
    return validated(model, load_mapping(path), path)


def validated(model: type[Model], data: Any, path: Path, at: Sequence[str | int] = ()) -> Model:
    """Data that stands in `path` at that place, as `model`. Raises UsageError as `load_as` does."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # a misspelt key is unknown and leaves the right one missing: name the misspelling
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        place = first["loc"]
        where = (*at, *place)
        dotted = ".".join(map(str, where))
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, place[:-1])
            cure = nearest(str(where[-1]), known) if known else "remove it"
            raise fault(path, where, f"unknown key {dotted!r}", cure) from None
        if first["type"] == "missing":
            raise fault(path, where, f"{dotted!r} is missing", "add it") from None
        if first["type"] in ("model_type", "dict_type"):
            raise fault(path, where, f"{dotted}: not a mapping", "write `{key: value}`") from None
        message = first["msg"].removeprefix("Value error, ")
        given = f", not {reprlib.repr(first['input'])}" if dotted else ""
        raise fault(path, where, f"{dotted}: {message}{given}" if dotted else message) from None


def _fields_at(model: type[BaseModel], where: Sequence[str | int]) -> list[str]:
    """The field names of the model that `where` leads to, through nested models and dicts of models."""
    for part in where:
        if str(part) not in model.model_fields:
            continue  # a dict's key: the model is the same level's value type
        inner = model.model_fields[str(part)].annotation
        found = [
            a for a in (inner, *getattr(inner, "__args__", ())) if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        if not found:
            return []
        model = found[0]
    return list(model.model_fields)
