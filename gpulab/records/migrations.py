"""Records of earlier versions, brought up to date when they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpulab.common.errors import UsageError
from gpulab.records.record import SCHEMA, RunRecord, StepRecord

Data = dict[str, Any]


def migrate(data: Any) -> Data:
    """A record's data as this version has them. Raises UsageError for what is none, or is a later version's."""
    if not isinstance(data, dict):
        raise UsageError("it holds no record")
    version = data.get("schema_version", data.get("schema"))
    if type(version) is not int or not 0 < version <= SCHEMA:
        raise UsageError(f"its schema version is {version!r}, this inv knows 1 to {SCHEMA}")
    current: Data = data
    for number in range(version, SCHEMA):
        current = STEPS[number](current)
    return current


def _from_1(old: Data) -> Data:
    """Version 1 had no version's name of its own, began without some fields, and kept whatever an engine added."""
    data = {key: value for key, value in old.items() if key in RunRecord.model_fields and value is not None}
    data |= {"schema_version": 2}
    absent = {"nodes": 1, "only": [], "hosts": [], "inventory": "", "others": [], "ports": {}, "environment": {},
              "settings": {}, "git": {}, "curriculum": "none", "engine": "local", "hub": "modelscope"}  # fmt: skip
    known = StepRecord.model_fields
    steps = [{k: v for k, v in step.items() if k in known and v is not None} for step in data.get("steps", [])]
    return {**absent, **data, "steps": steps}


def _from_2(old: Data) -> Data:
    """Version 2 knew no run that is judged again."""
    return old | {"schema_version": 3}


STEPS: dict[int, Callable[[Data], Data]] = {1: _from_1, 2: _from_2}
