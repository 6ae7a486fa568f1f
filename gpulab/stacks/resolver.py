"""Pins -> lock: uv resolves for the target's Python and platform, with hashes and without an index's address."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.common.uv import uv
from gpulab.stacks.cpu_torch import cpu_torch

if TYPE_CHECKING:
    from gpulab.stacks.stack import Pins, Stack

CUDA_PACKAGE = re.compile(r"^(nvidia-.*|cuda-.*|triton)$")
STYLE = ["--generate-hashes", "--no-header", "--no-annotate"]
CURE = "take another version in docker/stacks.yml; ./inv stacks --why STACK,STACK explains a conflict"


def target(pins: Pins) -> list[str]:
    """uv's words for the Python and platform that a lock is for."""
    if pins.python == "any":
        return ["--universal", "--python-version", "3.10"]
    return ["--python-version", pins.python, "--python-platform", "x86_64-manylinux_2_35"]


def resolve_stack(stack: Stack, *, upgrade: bool) -> str:
    """The lock's text, its first line saying what it was resolved from.

    Versions of the lock at hand are kept where they still fit, unless `upgrade`.
    A stack that is `from` another keeps to that one's lock, version by version: what they share is the same bytes.
    Raises UsageError with uv's reason.
    """
    words = [*target(stack.pins), *(["--constraint", str(stack.parent.lock)] if stack.parent else [])]
    words += [f"--no-emit-package={name}" for name in stack.left_out]
    if stack.pins.torch == "cpu" and stack.pins.python != "any":  # what is for one Python may ask for that very build
        words += cpu_torch(stack.all_pins, stack.pins.python).beside_the_index
    resolved = resolve(stack.name, stack.wanted, words, stack.lock, upgrade=upgrade)
    if stack.pins.torch != "cpu":
        return f"{first_line(stack)}\n{resolved}"
    left_out = ["torch", *filter(CUDA_PACKAGE.match, versions(resolved))]
    words += [f"--no-emit-package={name}" for name in left_out]
    without = resolve(f"{stack.name} without CUDA", stack.wanted, words, stack.lock, upgrade=upgrade)
    return f"{first_line(stack)}\n{without}"


def first_line(stack: Stack) -> str:
    """What tells a lock that is stale from one that is true, without asking an index."""
    return f"# resolved from {stack.asked}, see Stack.asked"


def resolve_control(pyproject: Path, lock: Path, *, upgrade: bool) -> str:
    """The control venv's lock, for every Python from 3.10 on. Raises UsageError with uv's reason."""
    words = ["--universal", "--python-version", "3.10", "--group", f"{pyproject}:dev", str(pyproject)]
    return resolve("control", [], words, lock, upgrade=upgrade)


def resolve(what: str, pins: list[str], words: list[str], lock: Path, *, upgrade: bool) -> str:
    """Run `uv pip compile` beside the lock at hand, in a folder of its own. Raises UsageError with uv's reason."""
    with tempfile.TemporaryDirectory() as place:
        out, wanted = Path(place) / "out.lock", Path(place) / "wanted.in"
        if lock.is_file():
            shutil.copyfile(lock, out)
        wanted.write_text("\n".join(pins) + "\n")
        asked = [str(wanted)] if pins else []
        more = ["--upgrade"] if upgrade else []
        uv(["pip", "compile", *words, *STYLE, *more, "--output-file", str(out), *asked],
           f"the pins of {what} do not resolve", f"resolving {what}", CURE)  # fmt: skip
        return out.read_text(encoding="utf-8")


def versions(lock: str) -> dict[str, str]:
    """Package -> version of a lock's text (of the last one where a universal lock has several)."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", lock, re.MULTILINE))
