"""Images in a file: `docker save`'s tar, gzipped or not, and beside it NAME.sha256 with what is in it.

The file beside it is sha256sum's own format (`sha256sum -c` checks it); its comments name the images:

    # gpulab/cpu:0123456789ab 0123456789ab 123456789
    <SHA-256>  NAME.tar.gz
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.files import write_atomically
from gpulab.common.paths import shown
from gpulab.images.inspect import Found
from gpulab.images.streams import chunks

ENDINGS = (".tar", ".tar.gz")


@dataclass(frozen=True)
class Held:
    """An image in a tarball: its tag, its identity, its bytes on an engine."""

    tag: str
    id: str
    size: int


@dataclass(frozen=True)
class Tarball:
    """A tarball and what the file beside it says."""

    path: Path
    sha256: str
    images: tuple[Held, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.path.stat().st_size

    def verify(self, watch: Callable[[int], None]) -> None:
        """Raise UsageError unless it is, byte for byte, what was saved."""
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                for chunk in chunks(file):
                    digest.update(chunk)
                    watch(len(chunk))
        except OSError as error:  # a bad disk
            raise UsageError(f"{shown(self.path)}: {error.strerror}", "copy it again") from None
        if digest.hexdigest() != self.sha256:
            raise UsageError(
                f"{shown(self.path)} is torn or changed: its SHA-256 is not the one in {beside(self.path).name}",
                "copy it again, from where it was saved",
            )


def beside(path: Path) -> Path:
    """The file with the checksum."""
    return path.with_name(f"{path.name}.sha256")


def target(file: str) -> Path:
    """Where to save, absolute. Raises UsageError for a name or place that won't do."""
    if not file:
        raise UsageError("into which file?", "--file NAME.tar, or NAME.tar.gz")
    path = Path(file).absolute()
    if not path.name.endswith(ENDINGS):
        raise UsageError(f"--file {file}: neither .tar nor .tar.gz", "name it NAME.tar, or NAME.tar.gz")
    if not path.parent.is_dir():
        raise UsageError(f"no folder {shown(path.parent)}", f"mkdir -p {shown(path.parent)}")
    if path.is_dir():
        raise UsageError(f"--file {file}: a folder", f"--file {file}/images.tar")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"no permission to write in {shown(path.parent)}", "name another folder")
    return path


def open_tarball(file: str) -> Tarball:
    """The tarball that `inv save` wrote. Raises UsageError for anything else."""
    path = Path(file).absolute()
    if not path.is_file():
        raise UsageError(f"{file}: no such file", "./inv save STACK --file FILE makes one")
    note = beside(path)
    for unreadable in (each for each in (path, note) if each.exists() and not os.access(each, os.R_OK)):
        raise UsageError(f"no permission to read {shown(unreadable)}", "chmod a+r it, as its owner")
    if not note.is_file():
        raise UsageError(
            f"{file} has no checksum beside it ({note.name})",
            f"copy it too; or trust it: docker load -i {file}",
        )
    try:
        text = note.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    sums = re.findall(r"^([0-9a-f]{64}) [ *]", text, re.MULTILINE)
    images = tuple(
        Held(tag, identity, int(size))
        for tag, identity, size in re.findall(r"^# (gpulab/\S+) ([0-9a-f]{12}) (\d+)$", text, re.MULTILINE)
    )
    if len(sums) != 1 or not images:
        raise UsageError(f"{shown(note)} is not one that `inv save` wrote", "copy both files again")
    return Tarball(path, sums[0], images)


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A name to write under first: renamed to `path` when all went well, else removed."""
    work = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield work
        work.replace(path)
    finally:
        with contextlib.suppress(OSError):
            work.unlink(missing_ok=True)


def write(
    path: Path, source: AbstractContextManager[BufferedReader], images: Iterable[Found], watch: Callable[[int], None]
) -> Tarball:
    """Write what `source` gives, and the file beside it: the whole pair, or nothing. Raises UsageError."""
    digest = hashlib.sha256()
    try:
        with draft(path) as work, source as stream, work.open("xb") as file:
            for chunk in chunks(stream):
                digest.update(chunk)
                file.write(chunk)
                watch(len(chunk))
        tarball = Tarball(path, digest.hexdigest(), tuple(Held(image.tag, image.id, image.size) for image in images))
        lines = [f"# {held.tag} {held.id} {held.size}" for held in tarball.images]
        write_atomically(beside(path), "\n".join([*lines, f"{tarball.sha256}  {path.name}", ""]))
    except OSError as error:
        raise UsageError(f"{shown(path)}: {error.strerror}", "free some space there, or name another folder") from None
    return tarball
