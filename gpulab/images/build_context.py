"""The small folder that an image is built from: the recipe, uv, and the lock in parts, a layer for each."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.paths import DOCKER
from gpulab.images.image import RECIPE
from gpulab.stacks.cpu_torch import LOCKED_PLATFORM, CpuTorch, cpu_torch, verified
from gpulab.stacks.installer import older
from gpulab.stacks.lock_parts import entries, lock_parts
from gpulab.stacks.stack import Stack, load_images


def parts(stack: Stack) -> dict[str, str]:
    """The lock as requirement files, by part. A child's hold what its parent's image has not."""
    made = lock_parts(stack, without=stack.parent)
    if torch := own_torch(stack):
        made["torch"] = f"{torch.requirement}\n"
    return made


def python(stack: Stack) -> str:
    """The image's Python, X.Y. A wheel of torch's CPU build at hand decides where the stack takes any."""
    wanted = load_images().python if stack.pins.python == "any" else stack.pins.python
    return cpu_torch(stack.all_pins, wanted).python if stack.pins.torch == "cpu" else wanted


def too_old(stack: Stack) -> bool:
    """Whether the wheel of torch's CPU build at hand is for an older Python than the stack asks for."""
    return older(python(stack), stack.pins.least_python)


def own_torch(stack: Stack) -> CpuTorch | None:
    """torch's CPU build; None where torch is in the lock, or in the parent's image."""
    return cpu_torch(stack.all_pins, python(stack)) if stack.pins.torch == "cpu" and not stack.parent else None


def torch_from(stack: Stack) -> list[str]:
    """uv's words for where torch's CPU build comes from."""
    torch = own_torch(stack)
    return torch.words("/lock/wheels") if torch else []


def stage(stack: Stack, folder: Path, *, verify: bool) -> None:
    """Put all that the image of `stack` is built from into `folder`; with `verify`, torch's digest, too.

    Raises UsageError for another torch than the one that is pinned, or was used first, and where that is for an older
    Python than the stack asks for.
    """
    if too_old(stack):
        raise UsageError(
            f"the image of {stack.name} needs Python {stack.pins.least_python}, torch's CPU build at hand is for "
            f"{python(stack)}",
            f"./inv stacks --install {stack.name} makes its venv, which does with it",
        )
    for name in RECIPE:
        shutil.copy(DOCKER / name, folder)
    shutil.copy(Path(sys.executable).parent / "uv", folder)
    for name, text in parts(stack).items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    (folder / "sources.env").write_text(settings(stack), encoding="utf-8")
    (folder / "wheels").mkdir()
    torch = own_torch(stack)
    if torch and torch.wheel:
        shutil.copy(torch.wheel, folder / "wheels")
    if torch and verify:
        (folder / "torch.txt").write_text(f"{verified(torch, stack.torch_pins, LOCKED_PLATFORM)}\n", encoding="utf-8")


def settings(stack: Stack) -> str:
    """The environment in which its source distributions become wheels, for a shell to read."""
    own = [env for name, env in stack.sources.items() if name in entries(parts(stack)["sources"])]
    return "".join(f"export {key}={shlex.quote(value)}\n" for env in own for key, value in env.items())
