"""Image: a stack as a Docker image. Its tag is the stack's name and a hash of all that makes it."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property

from gpulab.common.paths import DOCKER
from gpulab.images.base import locked_base, own_base
from gpulab.stacks.stack import Stack, load_images

RECIPE = ("Dockerfile", "install", "docker-bake.hcl")


class Image:
    """The image of `stack`, built or not, on a base of one's own where `base` or GPULAB_BASE_IMAGE names one.

    Same tag, same recipe, lock and base.
    """

    def __init__(self, stack: Stack, base: str = "") -> None:
        self.stack = stack
        self.own_base = own_base(base)
        self.parent = Image(stack.parent, base) if stack.parent else None

    @cached_property
    def key(self) -> str:
        """12 hex digits over the recipe, the lock, the base and the parent's key. Raises UsageError without a lock."""
        recipe = [(DOCKER / name).read_text(encoding="utf-8") for name in RECIPE]
        stands_on = self.parent.key if self.parent else self.base
        own = json.dumps([self.stack.pins.apt, self.stack.sources])
        return hashlib.sha256("\0".join([stands_on, self.stack.key, own, *recipe]).encode()).hexdigest()[:12]

    @property
    def base(self) -> str:
        """The base image's name: with its digest where that is known, one's own as it was given."""
        return self.own_base or locked_base(load_images().base_for(self.python))

    @property
    def tag(self) -> str:
        """`gpulab/train:0123456789ab`: what the engine, the plan and the record call it."""
        return f"gpulab/{self.stack.name}:{self.key}"

    @property
    def python(self) -> str:
        """Its Python, X.Y."""
        return load_images().python if self.stack.pins.python == "any" else self.stack.pins.python

    @property
    def line(self) -> list[Image]:
        """Its parents, the first first, and itself: the order to build in."""
        return [*(self.parent.line if self.parent else []), self]
