"""The stacks that a verb was given, as images."""

from __future__ import annotations

from collections.abc import Iterable

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.images.image import Image
from gpulab.images.inspect import Found, look
from gpulab.stacks.stack import load_stack, load_stacks


def images_of(stacks: str) -> list[Image]:
    """The images of `cpu,train`. Raises UsageError for an unknown stack, or for none."""
    names = list(dict.fromkeys(name for name in stacks.split(",") if name))
    if not names:
        raise UsageError("which stack's image?", f"one or more of {','.join(load_stacks())}")
    return [Image(load_stack(name)) for name in names]


def insist(docker: Docker, images: Iterable[Image]) -> dict[str, Found]:
    """Every one of `images` as the engine has it, by tag. Raises UsageError for those that it has not."""
    images = list(images)
    found = look(docker, [image.tag for image in images])
    lacking = [image for image in images if image.tag not in found]
    if lacking:
        raise UsageError(
            f"{docker.at} has no {' and no '.join(image.tag for image in lacking)}",
            f"./inv build {','.join(image.stack.name for image in lacking)}, or load or pull it",
        )
    return found
