"""Follows a job from here: what its run's folder gets is mirrored, and a lost connection is taken up again."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from gpulab.common.paths import ROOT
from gpulab.hosts.inventory import Host
from gpulab.hosts.ssh import command as over_ssh
from gpulab.inside import slurm_watcher

AGAIN = 3.0  # seconds before a lost connection is taken up again
SILENT = 30.0  # seconds without a word after which it counts as lost


class Follower:
    """Mirrors logs and journal of a job's folder on `login` into `mirror`, and knows how the job stands."""

    def __init__(self, login: Host, folder: Path, job: str, mirror: Path) -> None:
        self._login, self._folder, self._job, self._mirror = login, folder, job, mirror
        self.standing: dict[str, str] = {}
        self.over = False
        self._heard = time.monotonic()
        self._closed = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def journal(self) -> list[dict[str, Any]]:
        """What the job has written down of its steps so far."""
        file = self._mirror / "journal"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def close(self) -> None:
        """Follow no longer; the job is left alone."""
        self._closed.set()
        if self._process:
            self._process.terminate()
        self._thread.join(10)

    def hears(self) -> bool:
        """Whether something was heard lately; a connection that is dead without a word is given up."""
        heard = time.monotonic() - self._heard < SILENT
        if not heard and self._process:
            self._process.terminate()
        return heard

    def _follow(self) -> None:
        while not (self._closed.is_set() or self.over):
            self._connect()
            if not self.over:
                self._closed.wait(AGAIN)

    def _connect(self) -> None:
        have = {
            str(f.relative_to(self._mirror)): f.stat().st_size
            for pattern in slurm_watcher.PATTERNS
            for f in self._mirror.glob(pattern)
        }
        argv = ["python3", "-u", "-", str(self._folder), self._job, json.dumps(have)]
        self._process = subprocess.Popen(
            over_ssh(self._login, *argv), cwd=ROOT, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdin and self._process.stdout  # noqa: S101 (pipes, see above)
        try:
            self._process.stdin.write(Path(slurm_watcher.__file__).read_text(encoding="utf-8"))
            self._process.stdin.close()
            for line in self._process.stdout:
                self._heard = time.monotonic()
                self._take(json.loads(line))
        except (OSError, ValueError):
            pass  # it broke off in the middle of a line: taken up again
        self._process.terminate()
        self._process.wait()

    def _take(self, said: dict[str, Any]) -> None:
        if "state" in said:
            self.standing = said
        elif "over" in said:
            self.over = True
        elif "file" in said:
            file = self._mirror / said["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("r+b" if file.exists() else "wb") as stream:
                stream.truncate(said["at"])
                stream.seek(said["at"])
                stream.write(base64.b64decode(said["data"]))
