"""Stack: a named, locked set of versions and the local venv made from it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gpulab.common.console import console
from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import DOCKER, STACKS, STACKS_YML, shown
from gpulab.common.yamlfile import fault, load_as
from gpulab.stacks import installer


class Pins(BaseModel):
    """One entry of docker/stacks.yml."""

    model_config = ConfigDict(extra="forbid")
    about: str
    parent: str | None = Field(None, alias="from")
    python: str = ""
    least_python: str = Field("", pattern=r"^(3\.\d+)?$")
    torch: Literal["cpu", "cuda", "none", ""] = ""
    pins: list[str]
    leaves_out: list[str] = []
    apt: list[str] = []
    gpus: list[float] = []

    @model_validator(mode="after")
    def _says_for_what(self) -> Pins:
        if bool(self.parent) == bool(self.python and self.torch):
            raise ValueError("`python` and `torch` come from the stack that it is `from`, or are given")
        if self.parent and self.apt:
            raise ValueError("`apt` comes from the stack that it is `from`")
        return self


class Images(BaseModel):
    """What all images stand on: docker/stacks.yml `images:`."""

    model_config = ConfigDict(extra="forbid")
    base: str
    python: str

    def base_for(self, python: str) -> str:
        """The base image's name for a Python."""
        return self.base.format(python=python)


class StacksFile(BaseModel):
    """docker/stacks.yml."""

    model_config = ConfigDict(extra="allow")  # `node:` belongs to the hosts' roles
    stacks: dict[str, Pins]
    source_distributions: dict[str, dict[str, str]] = {}
    torch_cpu_sha256: dict[str, str] = {}
    images: Images


class Stack:
    """A stack and where its lock and venv lie. The venv's name carries the lock's hash: same name, same contents."""

    def __init__(
        self,
        name: str,
        pins: Pins,
        parent: Stack | None = None,
        sources: dict[str, dict[str, str]] | None = None,
        torch_pins: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.torch_pins = torch_pins or {}
        self.parent = parent
        self._sources = sources or {}
        inherited = {k: getattr(parent.pins, k) for k in ("python", "torch")} if parent else {}
        self.pins: Pins = pins.model_copy(update=inherited)

    @property
    def all_pins(self) -> list[str]:
        """Its pins and those of the stacks it is `from`."""
        return [*(self.parent.all_pins if self.parent else []), *self.pins.pins]

    @property
    def left_out(self) -> list[str]:
        """What its lock does without, and so do those of the stacks that are `from` it."""
        return [*(self.parent.left_out if self.parent else []), *self.pins.leaves_out]

    @property
    def wanted(self) -> list[str]:
        """All pins as a resolver is asked for them: its own for the Pythons that they are made for."""
        least = self.pins.least_python
        own = [f"{pin} ; python_version >= '{least}'" for pin in self.pins.pins] if least else self.pins.pins
        return [*(self.parent.wanted if self.parent else []), *own]

    @property
    def lock(self) -> Path:
        """The hashed lock that `inv lock` makes from the pins."""
        return DOCKER / self.name / f"{self.name}.lock"

    @cached_property
    def key(self) -> str:
        """12 hex digits of the lock's SHA-256. Raises UsageError when there is no lock."""
        if not self.lock.is_file():
            raise UsageError(f"the stack {self.name} has no lock", f"./inv lock --stack {self.name}")
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()[:12]

    @cached_property
    def sources(self) -> dict[str, dict[str, str]]:
        """What its lock holds that has no wheel -> the environment to make one in."""
        text = self.lock.read_text(encoding="utf-8")
        return {name: env for name, env in self._sources.items() if f"\n{name}==" in text}

    @cached_property
    def asked(self) -> str:
        """12 hex digits of all that its lock is resolved from: the lock's first line holds them."""
        made_from = [self.all_pins, self.pins.python, self.pins.torch, self.parent.key if self.parent else ""]
        made_from += self.pins.leaves_out
        made_from += [self.pins.least_python] if self.pins.least_python else []
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:12]

    @property
    def venv(self) -> Path:
        """The local venv's folder, made or not."""
        return STACKS / f"{self.name}-{self.key}"

    @property
    def bin(self) -> Path:
        """The folder of the venv's programs."""
        return self.venv / "bin"

    @property
    def installed(self) -> bool:
        """Whether the venv is complete: its mark is written last, and says where: programs in it name that folder."""
        mark = self.venv / "complete"
        return mark.is_file() and mark.read_text(encoding="utf-8") == str(self.venv.resolve())

    def packages(self) -> dict[str, str]:
        """Name (as the index normalises it) -> version of everything installed in the venv. Its folder says both:
        reading each one's metadata takes as long as inv's imports."""
        found = [f.stem.split("-", 1) for f in self.venv.glob("lib/python*/site-packages/*.dist-info")]
        return dict(sorted((re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in found))

    @property
    def torch_sha256(self) -> list[str]:
        """The digests one of which the venv's torch, its CPU build, was checked against; none where the lock has it."""
        mark = self.venv / installer.TORCH_MARK
        return mark.read_text(encoding="utf-8").split() if mark.is_file() else []

    def ensure(self) -> None:
        """Make the venv when it is missing: one process at a time, anew after an interruption.

        Raises UsageError when it can't be made; then nothing half made passes for a stack.
        """
        if self.installed:
            return
        STACKS.mkdir(exist_ok=True)
        with self._alone():
            if self.installed:
                return
            free = shutil.disk_usage(STACKS).free / 2**30
            needed = 16 if self.pins.torch == "cuda" else 4
            if free < needed:
                raise UsageError(
                    f"the stack {self.name} needs {needed} GiB, {shown(STACKS)} has {free:.1f}", "free some space there"
                )
            console.print(f"making the stack [bold]{self.name}[/] in {shown(self.venv)} (once)")
            shutil.rmtree(self.venv, ignore_errors=True)
            installer.install(self)
            (self.venv / "complete").write_text(str(self.venv.resolve()), encoding="utf-8")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        lock = FileLock(STACKS / f".{self.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            console.print(f"another inv is making the stack {self.name}, waiting for it ...")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def load_stacks() -> dict[str, Stack]:
    """Every stack of docker/stacks.yml by name, parents before children. Raises UsageError with file and line."""
    stacks: dict[str, Stack] = {}
    file = _stacks_file()
    for name, pins in file.stacks.items():
        if pins.parent and pins.parent not in stacks:
            raise fault(STACKS_YML, ["stacks", name, "from"], f"no stack {pins.parent!r} above", "write it above")
        parent = stacks.get(pins.parent or "")
        stacks[name] = Stack(name, pins, parent, file.source_distributions, file.torch_cpu_sha256)
    return stacks


def _stacks_file() -> StacksFile:
    return _read_once(STACKS_YML, STACKS_YML.read_bytes() if STACKS_YML.is_file() else b"")


@lru_cache(maxsize=1)
def _read_once(path: Path, _content: bytes) -> StacksFile:
    """Each lab that is loaded asks for its stack: what a file says is read anew when the file has changed."""
    return load_as(StacksFile, path)


def load_images() -> Images:
    """docker/stacks.yml `images:`. Raises UsageError with file and line."""
    return _stacks_file().images


def load_stack(name: str) -> Stack:
    """One stack. Raises UsageError with the nearest names for an unknown one."""
    stacks = load_stacks()
    if name not in stacks:
        raise UsageError(
            f"no stack {name!r} in {shown(STACKS_YML)}", nearest(name, list(stacks), listed="./inv stacks")
        )
    return stacks[name]
