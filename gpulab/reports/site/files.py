"""Folders that hold exactly what they should: what differs is written, what is too much goes, the rest stays."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.paths import shown

MARK = ".gpulab-site"


@dataclass
class Changes:
    """What was written, and what was removed."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def bring_up_to_date(folder: Path, wanted: Mapping[str, str | Path], keep: Collection[str] = ()) -> Changes:
    """Make a folder hold these texts and copies of files, and nothing else but the folders named in `keep`."""
    changes = Changes()
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in wanted.items():
        path = folder / name
        if not same(path, source):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.draft")
            if isinstance(source, Path):
                shutil.copy2(source, draft)
                draft.chmod(0o644)
            else:
                draft.write_text(source, encoding="utf-8")
            draft.replace(path)
            changes.written.append(name)
    for path in folder.rglob("*"):
        below = path.relative_to(folder)
        if below.as_posix() not in wanted and below.parts[0] not in keep and not path.is_dir():
            path.unlink()
            changes.removed.append(below.as_posix())
    return changes


def same(path: Path, source: str | Path) -> bool:
    """Whether a file is there as it should be: a text by its letters, a copy by size and time."""
    if not path.is_file():
        return False
    if isinstance(source, str):
        return path.read_bytes() == source.encode()
    there, wanted = path.stat(), source.stat()
    return (there.st_size, int(there.st_mtime)) == (wanted.st_size, int(wanted.st_mtime))


def check_target(target: Path) -> None:
    """Raise UsageError for a folder that holds anything but an earlier site, and where none can be."""
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / MARK).is_file())):
        raise UsageError(f"--to {shown(target)}: there is something else", "name a new folder, or an empty one")
    if not target.parent.is_dir():
        raise UsageError(f"--to {shown(target)}: {shown(target.parent)} is no folder", "make it first")
