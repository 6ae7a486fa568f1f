"""How a stack's venv is made: uv, the hashed lock, and torch's CPU build from wherever it can be had."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.errors import UsageError
from gpulab.uv import pip_settings, uv

if TYPE_CHECKING:
    from gpulab.stacks import Pins


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


def cpu_torch(pins: Pins, python: str) -> CpuTorch:
    """torch's CPU build for `python`, or for the Python that the wheels at hand are for: they decide."""
    version = pinned(pins.pins, "torch")
    wheels = dict(local_torch(version))
    if not wheels:
        return CpuTorch(f"torch=={version}", python, None)
    python = python if python in wheels else next(iter(wheels))
    return CpuTorch(f"torch=={version}+cpu", python, wheels[python])


def install(venv: Path, lock: Path, pins: Pins) -> None:
    """Make `venv` with exactly what `lock` holds. Raises UsageError naming the step that failed.

    The CPU build of torch stands outside the lock (its hash differs by Python): from a local wheel where pip has one,
    else from PyTorch's own index, which uv knows by name. The CUDA build is never a candidate.
    """
    python = pins.python if pins.python != "any" else f"{sys.version_info.major}.{sys.version_info.minor}"
    torch = cpu_torch(pins, python) if pins.torch == "cpu" else None
    python = torch.python if torch else python
    into = ["pip", "install", "--python", str(venv / "bin/python"), "--no-deps", "--compile-bytecode"]
    packages = lock.read_text(encoding="utf-8").count("==")
    cure = f"install Python {python} and have it on PATH; uv downloads one only where it reaches the network"
    uv(["venv", "--clear", "--python", python, str(venv)], f"no Python {python} can be had", f"Python {python}", cure)
    if torch:
        words = [*torch.words(torch.folder), torch.requirement]
        uv([*into, *words], "the CPU build of torch can't be had", "torch, the CPU build")
    locked = ["--require-hashes", "-r", str(lock)]
    uv([*into, *locked], f"the packages of {lock.name} can't be installed", f"{packages} packages, and their bytecode")
