"""A spread step: its commands run side by side, one on each node, and the first that fails ends all."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpulab.common.resources import Sampler
from gpulab.engines.backend import CannotStart, Job, StepBackend, log_of
from gpulab.engines.ended import Ended
from gpulab.engines.progress import Watch
from gpulab.engines.rank_logs import RankLogs
from gpulab.plan.plan import Command, Plan

# SIGKILL, of a container, of a process, of one below the `swift` command: by hand, or for want of memory.
KILLED = (137, -9, 247)
# What torchrun says of a rank that did not end by itself; its own status is 1.
RANK_KILLED = re.compile(r"Signal \d+ \((SIG(?!TERM|INT)\w+)\) received by PID|exitcode\s*: 247\b")
# What gloo, NCCL and torch's store say of a rank that another node's end took with it.
PEER_GONE = re.compile(
    r"[Cc]onnection (closed|reset) by (remote )?peer|ncclRemoteError|ncclSystemError|DistNetworkError|Broken pipe"
)
POLL = 0.2  # seconds between two looks at the running commands
SETTLE = 2.0  # seconds between the first bad end of a node and the verdict on which it began with
QUIET = 60.0  # seconds without a line from any node after which it is asked whether they reach each other still
SILENCE = 900.0  # seconds without a line from any node after which a spread step is given up


class NodeGroup:
    """The nodes of one spread step."""

    def __init__(
        self, backend: StepBackend, plan: Plan, commands: Sequence[Command], sampler: Sampler, watch: Watch
    ) -> None:
        self._backend, self._plan, self._commands = backend, plan, commands
        self._sampler, self._watch = sampler, watch
        self._step = commands[0].step
        self._logs = RankLogs({rank: self._log(rank) for rank in range(len(commands))}, log_of(plan, self._step))

    def run(self) -> Ended:
        """Run it on all nodes."""
        with ThreadPoolExecutor(len(self._commands)) as pool:
            starting = [pool.submit(self._backend.start, self._plan, command) for command in self._commands]
            try:
                for command, begun in zip(self._commands, starting, strict=True):
                    if isinstance(error := begun.exception(), CannotStart):
                        return Ended(127, f"{error} (on {command.node})")
                return self._until_all_end({rank: begun.result() for rank, begun in enumerate(starting)})
            finally:
                list(pool.map(lambda job: job.stop(), [b.result() for b in starting if not b.exception()]))
                self._watch.lines(self._logs.follow())

    def _until_all_end(self, jobs: Mapping[int, Job]) -> Ended:
        asked = 0.0
        while running := [job for job in jobs.values() if job.poll() is None]:
            self._sampler.tick(self._step, list(jobs.values()))
            self._watch.look(self._commands[0])
            self._watch.lines(self._logs.follow())
            if seen := [rank for rank, job in jobs.items() if job.poll()]:
                self._settle(jobs)
                return self._failed(jobs, seen[0])
            quiet = time.monotonic() - self._logs.last_word
            if quiet > SILENCE:
                return Ended(None, f"no node of {self._step} said a word for {SILENCE:.0f} s")
            if quiet > QUIET and time.monotonic() - asked > QUIET:
                asked = time.monotonic()
                if apart := self._backend.apart(self._plan, self._commands):
                    return Ended(None, f"{apart}; the nodes of {self._step} were stopped")
            running[0].wait(POLL)
        bad = [rank for rank, job in jobs.items() if job.poll()]
        return self._failed(jobs, bad[0]) if bad else Ended(0)

    def _settle(self, jobs: Mapping[int, Job]) -> None:
        """After the first bad end wait a moment for the others': the news of the one it began with may come later."""
        deadline = time.monotonic() + SETTLE
        while time.monotonic() < deadline and (running := [job for job in jobs.values() if job.poll() is None]):
            running[0].wait(POLL)

    def _failed(self, jobs: Mapping[int, Job], seen: int) -> Ended:
        """How the step failed, named by the node that it began with: one that was lost, else one that was killed (the
        others then fail for want of it), else one that does not complain of a lost peer, else the one that was `seen`
        to end badly first."""
        lost = {rank: why for rank, job in jobs.items() if (why := job.lost())}
        bad = {rank: status for rank, job in jobs.items() if (status := job.poll())}
        told = {rank: said(self._log(rank)) for rank in bad}
        found = {rank: RANK_KILLED.search(text) for rank, text in told.items()}
        by = {rank: match[1] or "SIGKILL" for rank, match in found.items() if match}
        killed = [rank for rank, status in bad.items() if status in KILLED]
        first = sorted((rank for rank, text in told.items() if not PEER_GONE.search(text)), key=lambda r: r != seen)
        rank = next(iter([*lost, *killed, *by, *first, seen]))
        how = lost.get(rank) or f"ended with exit {bad[rank]}" + (f", a rank of it by {by[rank]}" if rank in by else "")
        others = [f"{self._name(r)} with exit {s}" for r, s in bad.items() if r != rank]
        after = f"; after that {', '.join(others)}" if others else ""
        text = f"{self._name(rank)} of {self._step} {how}{after}; the others were stopped"
        return Ended(bad.get(rank), text, self._log(rank))

    def _log(self, rank: int) -> Path:
        return log_of(self._plan, self._commands[rank].name)

    def _name(self, rank: int) -> str:
        return f"node {rank} ({self._commands[rank].node})"


def said(log: Path) -> str:
    """All that a log holds so far."""
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
