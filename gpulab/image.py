"""Image: a stack as a Docker image. Its tag is the stack's name and a hash of all that makes it."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from gpulab.paths import DOCKER
from gpulab.stacks import Stack

RECIPE = DOCKER / "Dockerfile"


class Image:
    """The image of `stack`, built or not. Same tag, same recipe and lock."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.parent = Image(stack.parent) if stack.parent else None

    @property
    def recipe(self) -> Path:
        """The Dockerfile."""
        return RECIPE

    @cached_property
    def key(self) -> str:
        """12 hex digits over the recipe, the lock and the parent's key. Raises UsageError where there is no lock."""
        made_of = [self.parent.key if self.parent else "", self.stack.key, self.recipe.read_text(encoding="utf-8")]
        return hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:12]

    @property
    def tag(self) -> str:
        """`gpulab/train:0123456789ab`: what the engine, the plan and the record call it."""
        return f"gpulab/{self.stack.name}:{self.key}"
