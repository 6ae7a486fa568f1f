"""Recipes of low precision: there are none."""

from __future__ import annotations

import enum

from ..refuse import refused


class Format(enum.Enum):
    """Named by Megatron-Core before a recipe is made."""

    E4M3 = "e4m3"
    HYBRID = "hybrid"


DelayedScaling = refused("fp8")
Float8CurrentScaling = refused("fp8")
Float8BlockScaling = refused("fp8")
MXFP8BlockScaling = refused("fp8")
NVFP4BlockScaling = refused("fp4")
