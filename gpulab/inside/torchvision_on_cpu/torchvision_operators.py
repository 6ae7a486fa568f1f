"""Lets the index's torchvision be imported beside torch's CPU build.

That torchvision is a CUDA build: here none of its operators loads, and the import fails where it describes two of them
to torch. They are declared by name, with nothing behind them: a sitecustomize imports this, for a plugin of ms-swift
would be too late, swift itself imports torchvision.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from typing import Any

DESCRIBES = "torchvision._meta_registrations"
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class BeforeTheDescription(importlib.abc.MetaPathFinder):
    """Declares the operators when torchvision is about to describe them, and then is gone."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Finds nothing itself."""
        if name == DESCRIBES:
            sys.meta_path.remove(self)
            declare()
        return None


def declare() -> None:
    """Only where torchvision has no operators of its own."""
    import torch
    from torchvision.extension import _has_ops

    if not _has_ops():
        library = torch.library.Library("torchvision", "DEF")
        for operator in OPERATORS:
            library.define(operator)
        kept.append(library)  # a library that is collected takes its operators with it


kept: list[Any] = []
sys.meta_path.insert(0, BeforeTheDescription())
