"""The small folder that an image is built from: the recipe, uv, and the lock in parts, a layer for each."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

from gpulab.image import RECIPE
from gpulab.installer import cpu_torch
from gpulab.paths import DOCKER
from gpulab.resolver import CUDA_PACKAGE
from gpulab.stacks import Stack, load_images

PARTS = ("torch", "rest", "sources")


def entries(lock: str) -> dict[str, str]:
    """Package -> its lines of a lock's text: the pin (pins, in a universal lock) and the hashes."""
    found: dict[str, str] = {}
    for block in re.findall(r"^[a-z0-9].*(?:\n .*)*", lock, re.MULTILINE):
        name = re.split(r"[=\[]", block, maxsplit=1)[0]
        found[name] = f"{found.get(name, '')}{block}\n"
    return found


def parts(stack: Stack) -> dict[str, str]:
    """The lock as requirement files, by part. A child's hold what its parent's image has not."""
    inherited = entries(stack.parent.lock.read_text(encoding="utf-8")) if stack.parent else {}
    made = dict.fromkeys(PARTS, "")
    for name, block in entries(stack.lock.read_text(encoding="utf-8")).items():
        if name not in inherited:
            heavy = name == "torch" or CUDA_PACKAGE.match(name)
            made["sources" if name in stack.sources else "torch" if heavy else "rest"] += block
    if stack.pins.torch == "cpu" and not stack.parent:
        made["torch"] = f"{cpu_torch(stack.pins, python(stack)).requirement}\n"
    return made


def python(stack: Stack) -> str:
    """The image's Python, X.Y. A wheel of torch's CPU build at hand decides where the stack takes any."""
    wanted = load_images().python if stack.pins.python == "any" else stack.pins.python
    root = stack
    while root.parent:
        root = root.parent
    return cpu_torch(root.pins, wanted).python if root.pins.torch == "cpu" else wanted


def torch_from(stack: Stack) -> list[str]:
    """uv's words for where torch comes from; none where it is in the lock, or in the parent's image."""
    if stack.pins.torch != "cpu" or stack.parent:
        return []
    return cpu_torch(stack.pins, python(stack)).words("/lock/wheels")


def stage(stack: Stack, folder: Path) -> None:
    """Put all that the image of `stack` is built from into `folder`."""
    for name in RECIPE:
        shutil.copy(DOCKER / name, folder)
    shutil.copy(Path(sys.executable).parent / "uv", folder)
    for name, text in parts(stack).items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    (folder / "sources.env").write_text(settings(stack), encoding="utf-8")
    (folder / "wheels").mkdir()
    if "--find-links" in torch_from(stack):
        torch = cpu_torch(stack.pins, python(stack))
        tag = f"cp{torch.python.replace('.', '')}"
        for wheel in (torch.folder or folder).glob(f"{torch.requirement.replace('==', '-')}-{tag}-*.whl"):
            shutil.copy(wheel, folder / "wheels")


def settings(stack: Stack) -> str:
    """The environment in which its source distributions become wheels, for a shell to read."""
    own = [env for name, env in stack.sources.items() if name in entries(parts(stack)["sources"])]
    return "".join(f"export {key}={shlex.quote(value)}\n" for env in own for key, value in env.items())
