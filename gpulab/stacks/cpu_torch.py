"""torch's CPU build, which stands outside the locks: where it is had from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.uv import pip_settings


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

    @property
    def beside_the_index(self) -> list[str]:
        """uv's words for packages that may want it."""
        return ["--find-links", str(self.folder)] if self.folder else ["--torch-backend", "cpu"]

    def words(self, folder: Path | str | None) -> list[str]:
        """uv's words for it alone, the wheels lying in `folder`."""
        return ["--no-index", "--find-links", str(folder)] if self.folder else ["--torch-backend", "cpu"]


def cpu_torch(pins: list[str], python: str) -> CpuTorch:
    """torch's CPU build for `python`, or for the Python that the wheels at hand are for: they decide."""
    version = pinned(pins, "torch")
    wheels = dict(local_torch(version))
    if not wheels:
        return CpuTorch(f"torch=={version}", python, None)
    python = python if python in wheels else next(iter(wheels))
    return CpuTorch(f"torch=={version}+cpu", python, wheels[python])
