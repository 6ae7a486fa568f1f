"""`inv rehearse`: labs rehearsed one after the other, or several at a time, through one warm process.

Each is an `inv lab` of its own, with a record of its own; so one that breaks does not take the others with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import psutil

from gpulab.common.console import console
from gpulab.common.errors import UsageError, nearest
from gpulab.common.failure import Failure
from gpulab.common.numbers import positive
from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS, ROOT
from gpulab.engines.interrupts import ignored
from gpulab.engines.local import LocalBackend
from gpulab.lab.lab import Lab, lab_names, load_lab
from gpulab.lab.written import Break
from gpulab.records.read import read
from gpulab.stacks.stack import load_stack

INV = (sys.executable, "-m", "gpulab")
GIB_EACH = 2  # about what a rehearsal takes at its most
BREAKS = ("", "one", "all")
MARKS = {"passed": "[green]✓[/]", "failed": "[red]✗[/]", "impossible": "[dim]-[/]"}


@dataclass
class Item:
    """A lab to rehearse, or a break of it, and how that ended."""

    lab: str
    broken: str = ""
    outcome: str = ""
    seconds: float = 0.0
    run: str = ""
    failures: list[str] = field(default_factory=list)


def rehearse(pattern: str, jobs: int, breaks: str) -> Outcome:
    """Rehearse the labs whose names have `pattern` in them; or break each, and see a proof fail."""
    positive("--jobs", jobs, 64)
    if breaks not in BREAKS:
        raise UsageError(f"--breaks {breaks}: not known", "--breaks one, or all")
    found = [load_lab(LABS / name) for name in lab_names() if pattern in name]
    if not found:
        raise UsageError(f"no lab has {pattern!r} in its name", nearest(pattern, lab_names(), listed="./inv labs"))
    fit = max(1, int(psutil.virtual_memory().available / 2**30 / GIB_EACH))
    backend = LocalBackend(load_stack("cpu"))
    backend.prepare()
    began, done = time.monotonic(), []
    crew = Crew(min(jobs or 1, fit))
    warm = backend.warm_up()
    try:
        for item in crew.carry_out(found, breaks, warm.shared):
            done.append(item)
            about = item.broken or (item.failures[0] if item.failures else "")
            console.print(f"{MARKS[item.outcome]} {item.lab:24} {item.seconds:6.1f} s  ", end="")
            console.print(about, markup=False)
    finally:
        warm.end()
    counts = {outcome: sum(item.outcome == outcome for item in done) for outcome in MARKS}
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return Outcome(
        {"labs": [asdict(item) for item in done], **counts, "seconds": round(time.monotonic() - began, 1)},
        failures=[Failure(f"{item.lab}: {why}") for item in done if item.outcome == "failed" for why in item.failures],
        text=f"{said} in {time.monotonic() - began:.0f} s",
    )


class Crew:
    """Runs so many at a time; an interrupt reaches all that run, and each closes its record."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._lock, self._serving = Lock(), Lock()
        self._running: list[subprocess.Popen[str]] = []
        self._over = False

    def carry_out(self, labs: Sequence[Lab], breaks: str, env: Mapping[str, str]) -> Iterator[Item]:
        """Each item when it has ended."""
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                todo = [pool.submit(self._one, lab, broken, env) for lab in labs for broken in chosen(lab, breaks)]
                for ended in as_completed(todo):
                    yield ended.result()
            except BaseException:
                with ignored():
                    pool.shutdown(wait=False, cancel_futures=True)
                    with self._lock:
                        self._over = True
                        for process in self._running:
                            process.terminate()  # as Ctrl-C, which it may have been told to ignore (a shell's `&`)
                    pool.shutdown()
                raise

    def _one(self, lab: Lab, broken: Break | None, env: Mapping[str, str]) -> Item:
        item = Item(lab.name, broken=str(broken or ""))
        if why := lab.rehearse.impossible:
            item.outcome, item.failures = "impossible", [why]
            return item
        words = ["--only", ",".join(lab.to_break(broken))] if broken else []
        words += [word for setting in (broken.settings if broken else ()) for word in ("--set", setting)]
        serves = any(step.ready for step in lab.steps.values())  # two at a time would choose the same port
        with self._serving if serves else nullcontext():
            began = time.monotonic()
            code, told = self._inv(["lab", lab.name, "--rehearse", "--json", *words], env)
            item.seconds = round(time.monotonic() - began, 1)
        item.run, item.failures = told.get("run", ""), told.get("failures", [f"inv ended with exit {code}"])
        if broken:
            item.failures = seen(Path(told["folder"]), broken) if "folder" in told else item.failures
        item.outcome = "failed" if item.failures else "passed"
        return item

    def _inv(self, words: Sequence[str], env: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """An inv of its own: its exit code and what it told."""
        with self._lock:
            if self._over:
                return 130, {}
            process = subprocess.Popen(
                [*INV, *words], cwd=ROOT, env={**os.environ, **env}, text=True, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            self._running.append(process)
        said, _ = process.communicate()
        with self._lock:
            self._running.remove(process)
        return process.returncode, json.loads(said or "{}")


def chosen(lab: Lab, breaks: str) -> Sequence[Break | None]:
    """What to run of a lab: itself, or its breaks."""
    if not breaks:
        return [None]
    return lab.breaks[:1] if breaks == "one" else lab.breaks


def seen(folder: Path, broken: Break) -> list[str]:
    """What is wrong with how a break ended: nothing where the commands ended well and the proof failed."""
    record = read(folder)
    if crashed := [step for step in record.steps if step.exit]:
        return [f"{broken}: {crashed[0].step} ended with exit {crashed[0].exit}, so no proof was tried"]
    failed = [proof.proof for step in record.steps for proof in step.proofs if not proof.holds]
    if broken.fails in failed or (failed and broken.fails is None):
        return []
    return [f"{broken}: no proof failed" if not failed else f"{broken}: «{broken.fails}» holds, «{failed[0]}» fails"]
