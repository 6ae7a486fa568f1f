"""A container that was started, as a job; and what `docker stats` says."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from gpulab.common.docker import Docker
from gpulab.common.processes import MARK
from gpulab.common.resources import Usage

GRACE = 10  # seconds between the request to end and the kill
LOST = 60  # seconds without a word from the engine after which a container is given up
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class ContainerJob:
    """A container, its log followed into a file. It runs on by itself: a lost connection is taken up again.

    It stays when it has ended, for whoever asks later how it ended (see `Backend.remove`).
    """

    def __init__(self, docker: Docker, name: str, log: Path, mark: str) -> None:
        self._docker, self._name, self._log, self._mark = docker, name, log, mark
        self._status: int | None = None
        self._follow()
        self._silent_since: float | None = None
        self._gone = False
        self._stats = self._popen("stats", "--format", "{{json .}}", name, stdout=subprocess.PIPE)
        self._usage = Usage()
        threading.Thread(target=self._read_stats, daemon=True).start()

    def poll(self) -> int | None:
        """See Job; 255 when the engine does not answer any more."""
        if self._status is None and self._logs.poll() is not None:
            self._status = self._ended()
        return self._status

    def wait(self, seconds: float) -> None:
        """See Job."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._logs.wait(seconds)

    def stop(self) -> None:
        """See Job."""
        if self._status is None:
            self._docker.try_run("stop", "--time", str(GRACE), self._name, timeout=GRACE + 20)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._logs.wait(GRACE)
        for process in (self._logs, self._stats):
            process.kill()  # stats does not heed SIGTERM
            process.wait()

    def usage(self) -> Usage:
        """See Job."""
        return self._usage

    def lost(self) -> str | None:
        """See Job."""
        if self._gone:
            return "was removed by someone else (./inv cancel?)"
        if self._silent_since is None:
            return None
        return f"has not answered for {time.monotonic() - self._silent_since:.0f} s"

    def _ended(self) -> int | None:
        """The exit status; None while it runs on, though the log broke off."""
        said = self._docker.try_run("inspect", "--format", "{{json .State}}", self._name, timeout=15)
        if said.returncode:
            self._silent_since = self._silent_since or time.monotonic()
            self._gone = "No such" in said.stderr
            given_up = self._gone or time.monotonic() - self._silent_since > LOST
            if given_up:
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(f"\n{self._docker.complaint(said.stderr).message}\n")
            return 255 if given_up else None
        self._silent_since = None
        state: dict[str, Any] = json.loads(said.stdout)
        if state["Running"]:
            self._follow()
            return None
        if state["OOMKilled"]:
            with self._log.open("a", encoding="utf-8") as log:
                log.write("\nKilled: the container was out of memory\n")
        return int(state["ExitCode"])

    def _follow(self) -> None:
        """From the container's first word on: whatever was missed is there again."""
        with self._log.open("wb") as log:
            self._logs = self._popen("logs", "--follow", self._name, stdout=log)

    def _popen(self, *words: str, stdout: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._docker.argv(*words), env={**self._docker.env(), MARK: self._mark}, stdin=subprocess.DEVNULL,
            stdout=stdout, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def _read_stats(self) -> None:
        assert self._stats.stdout  # noqa: S101 (a pipe, see above)
        for line in self._stats.stdout:
            # a line for a terminal: control codes before the object
            if match := re.search(rb"\{.*\}", line):
                self._usage = usage(json.loads(match[0]))


def usage(stats: dict[str, str]) -> Usage:
    """What `docker stats` says (`{"CPUPerc": "101.5%", "MemUsage": "1.5GiB / 8GiB"}`) as Usage."""
    used = re.match(r"([\d.]+)\s*([A-Za-z]+)", stats.get("MemUsage", ""))
    mib = float(used[1]) * UNITS.get(used[2], 0) / 2**20 if used else 0.0
    with contextlib.suppress(ValueError):
        return Usage(float(stats.get("CPUPerc", "").rstrip("%")), mib)
    return Usage(0.0, mib)
