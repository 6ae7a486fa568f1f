"""How a stack's venv is made: uv, the hashed lock, and torch's CPU build from wherever it can be had."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.common.paths import DOCKER
from gpulab.common.uv import environment, run, uv
from gpulab.stacks.cpu_torch import cpu_torch, digests, this_platform, verified
from gpulab.stacks.lock_parts import entries, lock_parts

if TYPE_CHECKING:
    from gpulab.stacks.stack import Stack

TORCH_MARK = "torch.sha256"


def install(stack: Stack) -> None:
    """Make the stack's venv with exactly what its lock holds, by the same script as its image.

    The CPU build of torch stands outside the lock (its hash differs by Python): from a local wheel where pip has one,
    else from PyTorch's own index, which uv knows by name, and with a digest of its own. The CUDA build is never a
    candidate.
    Raises UsageError naming the step that failed.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = (stack.pins.least_python or here) if stack.pins.python == "any" else stack.pins.python
    torch = cpu_torch(stack.all_pins, python) if stack.pins.torch == "cpu" else None
    python = torch.python if torch else python
    cure = f"install Python {python} and have it on PATH; uv downloads one only where it reaches the network"
    uv(
        ["venv", "--clear", "--python", python, str(stack.venv)],
        f"no Python {python} can be had",
        f"Python {python}",
        cure,
    )
    lock = lock_parts(stack)
    if torch:
        lock["torch"] = f"{verified(torch, stack.torch_pins, this_platform())}\n"
    for part, text in lock.items():
        if text:
            install_part(stack, part, text, torch.words() if torch and part == "torch" else [])
    if ahead := ahead_of(stack, python):
        install_ahead(stack, ahead)
    if torch:
        (stack.venv / TORCH_MARK).write_text("\n".join(digests(lock["torch"])) + "\n", encoding="utf-8")


def ahead_of(stack: Stack, python: str) -> str:
    """What of the lock asks for a newer Python than `python`, without that condition; "" where nothing does.

    It comes to this only where torch's CPU build is at hand for an older one alone.
    """
    least = stack.pins.least_python
    if not older(python, least):
        return ""
    lock = entries(stack.lock.read_text(encoding="utf-8"))
    return "".join(re.sub(r" ; [^\\\n]*", " ", lock[pin.split("==")[0]]) for pin in stack.pins.pins)


def older(python: str, least: str) -> bool:
    """Whether X.Y is older than what is asked for; nothing may be."""
    return bool(least) and [*map(int, python.split("."))] < [*map(int, least.split("."))]


def install_ahead(stack: Stack, text: str) -> None:
    """Install what asks for a newer Python all the same. pip can be told to; uv can't."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "ahead.txt"
        file.write_text(text, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--python", str(stack.bin / "python"), "install", "--quiet", "--no-deps"]
        run(
            [*pip, "--ignore-requires-python", "--only-binary", ":all:", "--require-hashes", "-r", str(file)],
            environment(),
            f"what of {stack.name} asks for Python {stack.pins.least_python} can't be installed",
            f"{text.count('==')} packages made for Python {stack.pins.least_python} and newer",
        )


def install_part(stack: Stack, part: str, text: str, words: list[str]) -> None:
    """docker/install, into the stack's venv. Raises UsageError with its reason."""
    programs = os.pathsep.join([str(stack.bin), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    compiled = {key: value for own in stack.sources.values() for key, value in own.items()}
    env = environment() | compiled | {"STACK": str(stack.venv), "PATH": programs}
    number = f"{text.count('==')} packages"
    doing = {"torch": "torch", "rest": number, "sources": f"{number} that have no wheel"}[part]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / f"{part}.txt"
        file.write_text(text, encoding="utf-8")
        run(
            # Python itself makes the bytecode of what is imported: a tenth of all, which takes half a minute.
            ["sh", str(DOCKER / "install"), str(file), *words, "--no-compile-bytecode"],
            env,
            f"{doing} of {stack.name} can't be installed",
            doing,
        )
