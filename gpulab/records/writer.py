"""The one writer of run.json: whole or not at all, again after every change, for its owner's eyes alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from gpulab.common import overwrite, redact
from gpulab.common.errors import UsageError
from gpulab.common.files import write_atomically
from gpulab.common.paths import runs_dir, shown
from gpulab.records.read import FILE, run_name
from gpulab.records.record import RunRecord, State


def write(folder: Path, record: RunRecord) -> None:
    """Write a run's record as it stands, without the secrets in it."""
    write_atomically(folder / FILE, json.dumps(redact.deep(record.as_data()), indent=1) + "\n", mode=0o600)


def end(folder: Path, record: RunRecord, state: State, failure: str) -> None:
    """Write the end of a run that nobody follows."""
    record.close(state)
    record.failures = [failure]
    write(folder, record)
    _clean_logs(folder)


def _clean_logs(folder: Path) -> None:
    for log in (folder / "logs").glob("*.log"):
        overwrite.secrets_in(log)


class RunFolder:
    """A run's folder. Holds a lock while it is open: a run without it was killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(active_mark(path))

    @classmethod
    def make(cls, slug: str) -> RunFolder:
        """A new folder under the runs folder, named by the time. Raises UsageError when it can't be written."""
        parent = runs_dir() / slug
        stem = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        with writing_into(parent):
            active_mark(parent).parent.mkdir(parents=True, exist_ok=True)
            parent.mkdir(parents=True, exist_ok=True)
            for suffix in ["", *(f"-{n}" for n in range(2, 100))]:
                folder = cls(parent / f"{stem}{suffix}")
                try:
                    folder.path.mkdir()
                    break
                except FileExistsError:  # two runs in one second
                    continue
            folder._lock.acquire()
            (folder.path / "logs").mkdir(mode=0o700)  # a program may say in its log what nobody else should read
        return folder

    def take(self) -> None:
        """Hold a run's folder again. Raises UsageError while another inv does."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"{run_name(self.path)} is followed already", "end the other inv, or wait for it"
            ) from None

    def discard(self) -> None:
        """As if the run had never been."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.let_go()

    def let_go(self) -> None:
        """Give the lock back."""
        self._lock.release()
        active_mark(self.path).unlink(missing_ok=True)


class Writer:
    """Keeps the record of a run whose folder is held."""

    def __init__(self, folder: RunFolder, record: RunRecord) -> None:
        self._folder = folder
        self.record = record
        with writing_into(folder.path):
            self.save()

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self._folder.path

    def save(self) -> None:
        """Write the record as it stands."""
        write(self.folder, self.record)

    def close(self, state: State) -> None:
        """The last write: state, end; no secret is left in the logs; gives the lock back."""
        self.record.close(state)
        try:
            self.save()
            _clean_logs(self.folder)
        finally:
            self._folder.let_go()


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Raises UsageError where a run's files can't be written."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot write a run into {shown(folder)}: {error.strerror}",
            "make the folder writable, free some space, or name another: GPULAB_RUNS=/elsewhere",
        ) from None


def active_mark(folder: Path) -> Path:
    """The lock file that a run holds while it runs."""
    return runs_dir() / ".active" / f"{folder.parent.name}@{folder.name}.lock"


def abandoned() -> list[Path]:
    """The folders of runs whose inv is gone without having closed them."""
    found = []
    for mark in sorted((runs_dir() / ".active").glob("*@*.lock")):
        lock = FileLock(mark)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue  # its inv is alive, or the folder is another user's
        slug, _, stem = mark.stem.partition("@")
        found.append(runs_dir() / slug / stem)
        lock.release()
    return found
