"""Run: runs/<chapter>-<lab>/<UTC>/run.json, written whole or not at all, again after every change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gpulab.common import redact
from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import ROOT, runs_dir, shown

SCHEMA = 1
RUNNING = "running"
DETACHED = "detached"  # nobody follows it, and it goes on


def now() -> str:
    """The time as 2026-11-23T06:10:49.123Z."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_atomically(path: Path, text: str) -> None:
    """Write `path` whole or not at all, for its owner alone: a reader, and a kill -9, see the old text or the new."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).chmod(0o600)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


class Record:
    """One run's folder and its run.json. Holds a lock while it is open: a run without it was killed."""

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self.folder = folder
        self.data = data
        self._lock = FileLock(active_mark(folder))

    @classmethod
    def open(cls, slug: str, data: dict[str, Any]) -> Record:
        """A new folder under the runs folder, named by the time. Raises UsageError when it can't be written."""
        parent = runs_dir() / slug
        stem = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        try:
            active_mark(parent).parent.mkdir(parents=True, exist_ok=True)
            parent.mkdir(parents=True, exist_ok=True)
            for suffix in ["", *(f"-{n}" for n in range(2, 100))]:
                folder = parent / f"{stem}{suffix}"
                try:
                    folder.mkdir()
                    break
                except FileExistsError:  # two runs in one second
                    continue
            record = cls(folder, {"schema": SCHEMA, "run": f"{slug}/{folder.name}", "state": RUNNING, **data})
            record._lock.acquire()
            (folder / "logs").mkdir(mode=0o700)  # a program may say in its log what nobody else should read
            record.save()
        except OSError as error:
            raise UsageError(
                f"cannot write a run into {shown(parent)}: {error.strerror}",
                "make the folder writable, free some space, or name another: GPULAB_RUNS=/elsewhere",
            ) from None
        return record

    @classmethod
    def reopen(cls, folder: Path, data: dict[str, Any]) -> Record:
        """The record of a run that goes on. Raises UsageError while another inv holds it."""
        record = cls(folder, data)
        try:
            record._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"{data['run']} is followed already", "end the other inv, or wait for it") from None
        record.save()
        return record

    def save(self) -> None:
        """Write run.json as it stands."""
        write_atomically(self.folder / "run.json", json.dumps(redact.deep(self.data), indent=1, default=str) + "\n")

    def close(self, state: str) -> None:
        """The last write: state, end; gives the lock back."""
        self.data |= {"state": state, "ended": now()}
        try:
            self.save()
        finally:
            self._let_go()

    def discard(self) -> None:
        """As if the run had never been opened."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._let_go()

    def _let_go(self) -> None:
        self._lock.release()
        active_mark(self.folder).unlink(missing_ok=True)


def active_mark(folder: Path) -> Path:
    """The lock file that a run holds while it runs."""
    return runs_dir() / ".active" / f"{folder.parent.name}@{folder.name}.lock"


def abandoned() -> list[Path]:
    """The folders of runs whose inv is gone without having closed them."""
    found = []
    for mark in sorted((runs_dir() / ".active").glob("*.lock")):
        lock = FileLock(mark)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue  # its inv is alive, or the folder is another user's
        slug, _, stem = mark.stem.partition("@")
        found.append(runs_dir() / slug / stem)
        lock.release()
    return found


def read(folder: Path) -> dict[str, Any]:
    """A run's record. Raises UsageError when it can't be read."""
    try:
        data: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown(folder)}/run.json can't be read: {error}", "name another run: ./inv runs") from None
    return data


def all_runs(slug: str = "*") -> list[Path]:
    """The folders of every run that left a record, oldest first."""
    return sorted((f.parent for f in runs_dir().glob(f"{slug}/*/run.json")), key=lambda f: (f.name, f.parent.name))


def find_run(name: str) -> Path:
    """A run by `slug/time`, by `time`, by lab (its last run) or `last`. Raises UsageError with the nearest."""
    runs = all_runs()
    if not runs:
        raise UsageError(f"no runs in {shown(runs_dir())} yet", "./inv lab quickstart")
    if name == "last":
        return runs[-1]
    wanted = name.rstrip("/").replace("runs/", "", 1)
    for folder in reversed(runs):
        slug = folder.parent.name
        if wanted in (f"{slug}/{folder.name}", folder.name, slug, slug.partition("-")[2]) or wanted == slug.replace(
            "-", "/", 1
        ):
            return folder
    raise UsageError(f"no run {name!r}", nearest(name, [f"{f.parent.name}/{f.name}" for f in runs[-20:]]))


def git_state() -> dict[str, Any]:
    """The repository's commit and whether anything differs from it; empty outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(git("status", "--porcelain"))} if commit else {}
