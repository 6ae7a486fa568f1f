"""transformer_engine.common: recipes of low precision, all refused."""

from . import recipe

__all__ = ["recipe"]
