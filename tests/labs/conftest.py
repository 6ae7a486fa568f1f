"""Real rehearsals: `./inv lab ...` as a user types it, with the real ms-swift."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpulab.common.processes import belonging
from gpulab.engines.local import LocalBackend
from gpulab.stacks.stack import load_stack
from tests.runs import newest, record
from tests.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Lab:
    """A `./inv lab` that was started, with its own runs folder."""

    process: subprocess.Popen[str]
    runs: Path

    @property
    def record(self) -> dict[str, Any]:
        """Its run.json as it stands; empty before there is one."""
        return record(self.runs)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        folder = newest(self.runs)
        assert folder, "there is no run yet"
        return folder

    def state(self, step: str) -> str | None:
        """A step's state in the record."""
        return next((s["state"] for s in self.record.get("steps", []) if s["step"] == step), None)

    def wait_until(self, ready: Callable[[], object], what: str, timeout: float = 120) -> None:
        """Wait for what its run is to come to; a run that ends before is told with what it said, at once."""
        wait_until(lambda: self.process.poll() is not None or ready(), what, timeout)
        if self.process.poll() is not None:
            raise AssertionError(f"it ended before {what}: {self.finish()}")

    def finish(self, timeout: float = 600) -> tuple[int, str, str]:
        """Wait for its end: exit status, standard output, standard error."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


def start(runs: Path, *words: str) -> Lab:
    """Start `./inv lab WORDS`, its runs in `runs`."""
    process = subprocess.Popen(
        [ROOT / "inv", "lab", *words], env={**os.environ, "GPULAB_RUNS": str(runs)}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    return Lab(process, runs)


@contextmanager
def warm_process(stack: str) -> Iterator[dict[str, str]]:
    """The environment of an inv that uses one warm process with others: its imports take longer than most labs."""
    backend = LocalBackend(load_stack(stack))
    backend.prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_CURRENT_TEST")  # another for each test, and a library reads it all
        made = backend.warm_up()
    yield made.shared
    made.end()


@pytest.fixture(scope="session")
def warm() -> Iterator[dict[str, str]]:
    """The warm process of the stack that most labs are rehearsed in."""
    with warm_process("cpu") as shared:
        yield shared


@pytest.fixture
def shared(warm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The labs of a test use the warm process of all; without this each inv starts its own, as a user's does."""
    for name, value in warm.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Any]:
    """lab(words...): start one; whatever is left of it after the test is a failure, and is stopped."""
    started: list[Lab] = []

    def begin(*words: str, runs: Path | None = None) -> Lab:
        made = start(runs or tmp_path / "runs", *words)
        started.append(made)
        return made

    yield begin
    left = [p for made in started for f in made.runs.glob("*/*") for p in belonging(f)]
    for process in [*left, *(made.process for made in started if made.process.poll() is None)]:
        process.kill()
    assert not left, f"left running: {left}"
