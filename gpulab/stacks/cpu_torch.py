"""torch's CPU build, which stands outside the locks: where it is had from, and that it is the right one."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.paths import CACHE, shown
from gpulab.common.uv import pip_settings, uv

SEEN = CACHE / "torch-cpu.json"
LOCKED_PLATFORM = "linux_x86_64"  # what the locks, and so the images, are for


def local_torch(version: str) -> list[tuple[str, Path]]:
    """(Python X.Y, wheel) of each CPU wheel of torch `version` in the folders that pip is told to look in."""
    folders = [Path(f) for f in pip_settings().get("find-links", "").split() if Path(f).is_dir()]
    found = []
    for folder in folders:
        for wheel in sorted(folder.glob(f"torch-{version}+cpu-cp3*_{platform.machine()}.whl")):
            tag = wheel.name.split("-")[2]  # cp311
            found.append((f"{tag[2]}.{tag[3:]}", wheel))
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
    """torch's CPU build for a Python: `wheel` is a file at hand, None is PyTorch's own index."""

    version: str
    python: str
    wheel: Path | None

    @property
    def requirement(self) -> str:
        """What uv is asked for, without a digest."""
        return f"torch=={self.version}{'+cpu' if self.wheel else ''}"

    @property
    def beside_the_index(self) -> list[str]:
        """uv's words for packages that may want it."""
        return ["--find-links", str(self.wheel.parent)] if self.wheel else ["--torch-backend", "cpu"]

    def words(self, folder: Path | str | None = None) -> list[str]:
        """uv's words for it alone; its wheel lies in `folder`, or where it was found."""
        if not self.wheel:
            return ["--torch-backend", "cpu"]
        return ["--no-index", "--find-links", str(folder or self.wheel.parent)]


def cpu_torch(pins: list[str], python: str) -> CpuTorch:
    """torch's CPU build for `python`, or for the Python that the wheels at hand are for: they decide."""
    version = pinned(pins, "torch")
    wheels = dict(local_torch(version))
    if not wheels:
        return CpuTorch(version, python, None)
    python = python if python in wheels else next(iter(wheels))
    return CpuTorch(version, python, wheels[python])


def this_platform() -> str:
    """This machine's, as docker/stacks.yml writes it."""
    return f"{sys.platform}_{platform.machine()}"


def verified(torch: CpuTorch, pins: Mapping[str, str], on: str, seen: Path | None = None) -> str:
    """The requirement with the SHA-256 that is accepted: the pinned one, else those of the first use, kept in `seen`.

    Raises UsageError for another wheel, and where the index does not answer.
    """
    seen = seen or SEEN
    key = f"{torch.version}-cp{torch.python.replace('.', '')}-{on}"
    requirement, offered = (torch.requirement, [sha256(torch.wheel)]) if torch.wheel else announced(torch, on)
    known = {k: v for k, v in read(seen).items() if k == key} | ({key: [pins[key]]} if key in pins else {})
    if key not in known and offered:
        keep(seen, key, offered)
    accepted = [digest for digest in known.get(key, offered) if digest in offered or not offered]
    if key in known and not accepted:
        by, cure = (
            ("docker/stacks.yml pins", f"take the maker's wheel, or write the digest of yours there: {offered[0]}")
            if key in pins
            else ("was used first", f"if it was replaced on purpose, remove {key} from {shown(seen)}")
        )
        raise UsageError(f"{torch.wheel or 'the index'}: not the torch that {by} for {key}", cure)
    return " ".join([requirement, *(f"--hash=sha256:{digest}" for digest in accepted)])


def digests(requirement: str) -> list[str]:
    """The SHA-256 that a verified requirement names."""
    return re.findall(r"--hash=sha256:([0-9a-f]{64})", requirement)


def announced(torch: CpuTorch, on: str) -> tuple[str, list[str]]:
    """PyTorch's own requirement for the version, with its local part, and the SHA-256 of all its wheels."""
    words = [*torch.words(), "--no-deps", "--generate-hashes", "--no-header", "--no-annotate"]
    words += ["--python-version", torch.python]
    words += ["--python-platform", "x86_64-manylinux_2_35"] if on == LOCKED_PLATFORM else []
    with tempfile.TemporaryDirectory() as place:
        wanted, out = Path(place) / "wanted.in", Path(place) / "out.txt"
        wanted.write_text(torch.requirement + "\n", encoding="utf-8")
        uv(["pip", "compile", *words, "--output-file", str(out), str(wanted)],
           f"PyTorch's index has no {torch.requirement} for Python {torch.python}", "torch's digests")  # fmt: skip
        text = out.read_text(encoding="utf-8")
    return text.split()[0], digests(text)


def sha256(file: Path) -> str:
    """The digest of a file."""
    made = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            made.update(block)
    return made.hexdigest()


def read(seen: Path) -> dict[str, list[str]]:
    """What was used first, by version, Python and platform."""
    found: dict[str, list[str]] = json.loads(seen.read_text(encoding="utf-8")) if seen.is_file() else {}
    return found


def keep(seen: Path, key: str, offered: Sequence[str]) -> None:
    """Record a first use."""
    seen.parent.mkdir(parents=True, exist_ok=True)
    draft = seen.with_suffix(".new")
    draft.write_text(json.dumps(read(seen) | {key: list(offered)}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(seen)
    console.print(f"  torch for {key} is the one used now from here on, {shown(seen)}")
