"""Presets (presets.yml): what many labs say of a step, written once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from gpulab.common.errors import nearest
from gpulab.common.yamlfile import load_mapping

FILE = Path(__file__).with_suffix(".yml")


@cache
def known() -> dict[str, dict[str, Any]]:
    """Every preset, by the key that it stands under."""
    return load_mapping(FILE)


def of(key: str) -> Callable[[Any], Any]:
    """What unfolds the presets in a list of `key`; a preset's name alone is a list of one."""

    def unfold(given: Any) -> Any:
        if isinstance(given, str):
            if given not in known()[key]:
                raise ValueError(f"no preset {given!r}: {nearest(given, list(known()[key]))}")
            return list(known()[key][given])
        if not isinstance(given, list):
            return given
        meant = (known()[key].get(item, [item]) if isinstance(item, str) else [item] for item in given)
        return [word for words in meant for word in words]

    return unfold
