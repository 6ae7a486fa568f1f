"""transformer_engine.pytorch.module."""

from . import base

__all__ = ["base"]
