"""How a stack's venv is made: uv, the hashed lock, and torch's CPU build from wherever it can be had."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.console import console
from gpulab.errors import UsageError

if TYPE_CHECKING:
    from gpulab.stacks import Pins

CUDA_PACKAGE = re.compile(r"^(nvidia-.*|cuda-.*|triton)$")


def uv_program() -> str:
    """The control venv's own uv."""
    return str(Path(sys.executable).parent / "uv")


def pip_settings() -> dict[str, str]:
    """What pip is told on this machine, by option name (`index-url`, `find-links` ...): uv reads none of it itself."""
    base = getattr(sys, "_base_executable", sys.executable)
    listed = subprocess.run([base, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    found = dict(re.findall(r"^(?:global|install|user|site)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    return found | {k[4:].lower().replace("_", "-"): v for k, v in os.environ.items() if k.startswith("PIP_")}


def uv_environment() -> dict[str, str]:
    """The environment for uv: this process's, with pip's index handed on where uv was told none."""
    env = dict(os.environ)
    index = pip_settings().get("index-url")
    if index and not ({"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & env.keys()):
        env["UV_DEFAULT_INDEX"] = index
    return env


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


def install(venv: Path, lock: Path, pins: Pins) -> None:
    """Make `venv` with exactly what `lock` holds. Raises UsageError naming the step that failed.

    The CPU build of torch stands outside the lock (its hash differs by Python): from a local wheel where pip has one,
    else from PyTorch's own index, which uv knows by name. The CUDA build is never a candidate.
    """
    python = pins.python if pins.python != "any" else f"{sys.version_info.major}.{sys.version_info.minor}"
    torch: list[str] = []
    if pins.torch == "cpu":
        version = pinned(pins.pins, "torch")
        wheels = dict(local_torch(version))
        if wheels and python not in wheels:
            python = next(iter(wheels))  # the wheel at hand decides
        source = ["--no-index", "--find-links", str(wheels[python])] if wheels else ["--torch-backend", "cpu"]
        torch = [*source, f"torch=={version}+cpu" if wheels else f"torch=={version}"]
    into = ["pip", "install", "--python", str(venv / "bin/python"), "--no-deps", "--compile-bytecode"]
    packages = lock.read_text(encoding="utf-8").count("==")
    cure = f"install Python {python} and have it on PATH; uv downloads one only where it reaches the network"
    _uv(["venv", "--clear", "--python", python, str(venv)], f"no Python {python} can be had", f"Python {python}", cure)
    if torch:
        _uv([*into, *torch], "the CPU build of torch can't be had", "torch, the CPU build")
    locked = ["--require-hashes", "-r", str(lock)]
    _uv([*into, *locked], f"the packages of {lock.name} can't be installed", f"{packages} packages, and their bytecode")


def compile_lock(lock: Path, pins: Pins) -> None:
    """Write `lock`: what `pins` resolve to, hashed, without an address. Raises UsageError with uv's reason."""
    if pins.python == "any":
        target = ["--universal", "--python-version", "3.10"]
    else:
        target = ["--python-version", pins.python, "--python-platform", "x86_64-manylinux_2_35"]
    lock.parent.mkdir(parents=True, exist_ok=True)
    wanted = lock.with_suffix(".in")
    wanted.write_text("\n".join(pins.pins) + "\n")
    command = ["pip", "compile", *target, "--generate-hashes", "--no-header", "--no-annotate", str(wanted)]
    try:
        resolved = _uv(command, "the pins do not resolve", "resolving")
        if pins.torch == "cpu":
            names = re.findall(r"^([a-z0-9._-]+)==", resolved, re.MULTILINE)
            left_out = ["torch", *filter(CUDA_PACKAGE.match, names)]
            command += [f"--no-emit-package={name}" for name in left_out]
            resolved = _uv(command, "the pins do not resolve", "resolving without CUDA")
    finally:
        wanted.unlink()
    lock.write_text(resolved)


NETWORK = "check network, mirror (UV_DEFAULT_INDEX) and disk; then run it again"


def _uv(arguments: list[str], failure: str, doing: str, cure: str = NETWORK) -> str:
    """Run uv and return its standard output; `doing` stands beside a spinner. Raises UsageError with uv's reason."""
    began = time.monotonic()
    with console.status(f"{doing} ..."):
        done = subprocess.run(
            [uv_program(), *arguments, "--quiet"], env=uv_environment(), text=True, check=False, capture_output=True
        )
    if done.returncode:
        reason = "\n".join(line for line in done.stderr.splitlines() if line.strip())[-1500:]
        raise UsageError(f"{failure}:\n{reason}", cure)
    console.print(f"  {doing}: {time.monotonic() - began:.0f} s")
    return done.stdout


def compile_project(pyproject: Path, lock: Path) -> None:
    """Write the control venv's lock for every Python from 3.10 on. Raises UsageError with uv's reason."""
    resolved = _uv(
        ["pip", "compile", "--universal", "--python-version", "3.10", "--generate-hashes", "--no-header",
         "--no-annotate", "--group", f"{pyproject}:dev", str(pyproject)],
        "the control requirements do not resolve", "resolving",
    )  # fmt: skip
    lock.write_text(resolved)
