"""How a stack's venv is made: uv, the hashed lock, and torch's CPU build from wherever it can be had."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.errors import UsageError
from gpulab.parts import lock_parts
from gpulab.paths import DOCKER
from gpulab.uv import environment, pip_settings, run, uv

if TYPE_CHECKING:
    from gpulab.stacks import Stack


def local_torch(version: str) -> list[tuple[str, Path]]:
    """(Python X.Y, folder) of each CPU wheel of torch `version` in the folders that pip is told to look in."""
    folders = [Path(f) for f in pip_settings().get("find-links", "").split() if Path(f).is_dir()]
    found = []
    for folder in folders:
        for wheel in sorted(folder.glob(f"torch-{version}+cpu-cp3*.whl")):
            tag = wheel.name.split("-")[2]  # cp311
            found.append((f"{tag[2]}.{tag[3:]}", folder))
    return found


def pinned(pins: list[str], name: str) -> str:
    """The version that `pins` gives to `name`. Raises UsageError when there is none."""
    for pin in pins:
        package, _, version = pin.partition("==")
        if package == name:
            return version
    raise UsageError(f"docker/stacks.yml pins no {name}", f"add `- {name}==VERSION`")


@dataclass(frozen=True)
class CpuTorch:
    """Where torch's CPU build is had from: `folder` is a folder of wheels, None is PyTorch's own index."""

    requirement: str
    python: str
    folder: Path | None

    def words(self, folder: Path | str | None) -> list[str]:
        """uv's words for it, the wheels lying in `folder`."""
        return ["--no-index", "--find-links", str(folder)] if self.folder else ["--torch-backend", "cpu"]


def cpu_torch(pins: list[str], python: str) -> CpuTorch:
    """torch's CPU build for `python`, or for the Python that the wheels at hand are for: they decide."""
    version = pinned(pins, "torch")
    wheels = dict(local_torch(version))
    if not wheels:
        return CpuTorch(f"torch=={version}", python, None)
    python = python if python in wheels else next(iter(wheels))
    return CpuTorch(f"torch=={version}+cpu", python, wheels[python])


def install(stack: Stack) -> None:
    """Make the stack's venv with exactly what its lock holds, by the same script as its image.

    The CPU build of torch stands outside the lock (its hash differs by Python): from a local wheel where pip has one,
    else from PyTorch's own index, which uv knows by name. The CUDA build is never a candidate.
    Raises UsageError naming the step that failed.
    """
    python = stack.pins.python if stack.pins.python != "any" else f"{sys.version_info.major}.{sys.version_info.minor}"
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
        lock["torch"] = f"{torch.requirement}\n"
    for part, text in lock.items():
        if text:
            install_part(stack, part, text, torch.words(torch.folder) if torch and part == "torch" else [])


def install_part(stack: Stack, part: str, text: str, words: list[str]) -> None:
    """docker/install, into the stack's venv. Raises UsageError with its reason."""
    programs = os.pathsep.join([str(stack.bin), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    compiled = {key: value for own in stack.sources.values() for key, value in own.items()}
    env = environment() | compiled | {"STACK": str(stack.venv), "PATH": programs}
    number = f"{text.count('==')} packages"
    doing = {"torch": "torch", "rest": f"{number}, and their bytecode", "sources": f"{number} that have no wheel"}[part]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / f"{part}.txt"
        file.write_text(text, encoding="utf-8")
        run(
            ["sh", str(DOCKER / "install"), str(file), *words],
            env,
            f"{doing} of {stack.name} can't be installed",
            doing,
        )
