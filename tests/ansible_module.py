"""A module of ansible/library as Python finds it nowhere: loaded from its file."""

from __future__ import annotations

import importlib.util
from typing import Any

from gpulab.common.paths import ROOT


def ansible_module(name: str) -> Any:
    """ansible/library/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "ansible" / "library" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
