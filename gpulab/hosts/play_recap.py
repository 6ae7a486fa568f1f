"""What came of a play, told by ansible-runner's events: pure data, no Ansible in it."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpulab.common.diagnosis import diagnose

SHOWN_LINES = 12


@dataclass
class HostRecap:
    """One host's part of a play."""

    role: str = ""
    task: str = ""
    ok: int = 0
    changed: int = 0
    state: str = "waiting"
    """waiting, running, then converged, changed, failed, unreachable or interrupted."""
    message: str = ""
    waits_for: str = ""
    """Why its task is tried again."""
    since: float = 0.0
    """When its task began, by the recap's clock."""

    def data(self) -> dict[str, Any]:
        """For --json: where it ended is only told where it failed."""
        shown = {"state": self.state, "ok": self.ok, "changed": self.changed}
        failed = {"role": self.role, "task": self.task, "message": self.message} if self.message else {}
        return {**shown, **failed}


@dataclass(frozen=True)
class Change:
    """One task that changed, or in check mode would change, one host."""

    host: str
    role: str
    task: str
    differs: list[str]


@dataclass
class PlayRecap:
    """Takes events one by one: `take`. Knows the hosts beforehand, so that one that never answers is not forgotten."""

    hosts: dict[str, HostRecap]
    changes: list[Change] = field(default_factory=list)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    """Of each (role, task) what the slowest host took: what one waits for."""
    warnings: list[str] = field(default_factory=list)
    finished: bool = False
    clock: Callable[[], float] = time.monotonic
    _handlers: set[str] = field(default_factory=set)

    def take(self, event: dict[str, Any]) -> None:
        """Add one event of ansible-runner."""
        kind, data = event.get("event", ""), event.get("event_data", {})
        if kind == "playbook_on_task_start" and data.get("is_conditional"):  # the runner's word for a handler
            self._handlers.add(data.get("task_uuid", ""))
        elif kind == "playbook_on_stats":
            self._end(data)
        elif kind == "runner_retry":
            self._waits(data)
        elif kind in (
            "runner_on_start",
            "runner_on_ok",
            "runner_on_failed",
            "runner_on_unreachable",
            "runner_on_skipped",
        ):
            self._host_event(kind.removeprefix("runner_on_"), data)

    def _waits(self, data: dict[str, Any]) -> None:
        """A task that is tried again: what it waits for."""
        host = self.hosts.setdefault(data.get("host", ""), HostRecap())
        said = _words(data.get("res") or {})
        known = diagnose(said, "host")
        host.waits_for = known.message if known else said

    def _host_event(self, kind: str, data: dict[str, Any]) -> None:
        name = data.get("host", "")
        host = self.hosts.setdefault(name, HostRecap())
        role, task, result = data.get("role", ""), data.get("task", ""), data.get("res") or {}
        if host.state in ("failed", "unreachable"):
            host.state = "running"  # a rescue took over, or a later play tries it again
        elif host.state == "waiting":
            host.state = "running"
        host.waits_for = ""
        if kind != "skipped":
            host.role, host.task = role or host.role, task
        if kind == "start":
            host.since = self.clock()
        if "duration" in data:
            spot = (role, task)
            self.seconds[spot] = max(self.seconds.get(spot, 0.0), float(data["duration"]))
        if kind == "ok":
            host.ok += 1
            if result.get("changed"):
                host.changed += 1
                if data.get("task_uuid") not in self._handlers:
                    self.changes.append(Change(name, role, task, differences(result)))
        elif kind == "unreachable" or (kind == "failed" and not data.get("ignore_errors")):
            host.state = kind
            host.message = reason(result)

    def interrupt(self) -> None:
        """It was ended from outside: what a host had not come through by then stays undone."""
        for host in self.hosts.values():
            if host.state in ("waiting", "running"):
                host.state = "interrupted"

    def _end(self, stats: dict[str, Any]) -> None:
        """The last word on each host is Ansible's own: a failure that was rescued is none."""
        self.finished = True
        for name, host in self.hosts.items():
            if stats.get("dark", {}).get(name):
                host.state = "unreachable"
            elif stats.get("failures", {}).get(name):
                host.state = "failed"
            elif name in stats.get("processed", {}) or host.ok:
                host.state, host.message = ("changed" if host.changed else "converged"), ""

    def failures(self) -> list[str]:
        """One line for each host that is not as it should be."""
        return [
            f"{name}: {host.state}" + (f" at {host.role}: {host.task}" if host.task else "") + f": {host.message}"
            for name, host in self.hosts.items()
            if host.state in ("failed", "unreachable")
        ]

    def slowest(self, count: int = 5) -> list[dict[str, Any]]:
        """The tasks one waited longest for."""
        ranked = sorted(self.seconds.items(), key=lambda item: -item[1])[:count]
        return [{"seconds": round(s, 1), "role": role, "task": task} for (role, task), s in ranked]


def reason(result: dict[str, Any]) -> str:
    """Why a task failed, in one line: what is known of such words, else its message, or a program's last words."""
    said = _words(result)
    known = diagnose(said, "host")
    return str(known) if known else said


def _words(result: dict[str, Any]) -> str:
    for name in ("msg", "stderr", "module_stderr", "stdout"):
        text = str(result.get(name) or "").strip()
        if text and text != "non-zero return code":
            return " ".join(text.split())[-600:]
    failed = [item for item in result.get("results", []) if item.get("failed")]
    return _words(failed[0]) if failed else "no reason given"


def differences(result: dict[str, Any]) -> list[str]:
    """What a changed task changed: the lines of its diffs, or the words of its message."""
    lines: list[str] = []
    for item in result.get("results") or [result]:
        if not item.get("changed"):
            continue
        diffs = item.get("diff") or []
        for diff in diffs if isinstance(diffs, list) else [diffs]:
            lines += _diff_lines(diff)
        named = item.get("item")
        if not diffs and named is not None:
            lines.append(named if isinstance(named, str) else str(item.get("_ansible_item_label", named)))
    if not lines:
        # No diff (apt gives none in check mode): what the module was asked for. A command's words tell nobody anything.
        asked = (result.get("invocation") or {}).get("module_args") or {}
        named = asked.get("name") or asked.get("path") or asked.get("dest") or result.get("msg", "")
        lines = [" ".join(map(str, named)) if isinstance(named, list) else str(named)] if named else []
    return lines if len(lines) <= SHOWN_LINES else [*lines[:SHOWN_LINES], f"... {len(lines) - SHOWN_LINES} more lines"]


def _diff_lines(diff: dict[str, Any]) -> list[str]:
    if diff.get("prepared"):  # apt's own words: the packages it would change
        return [line for line in str(diff["prepared"]).splitlines() if line.startswith(("Inst ", "Remv ", "Purg "))]
    before, after = (_as_lines(diff.get(side)) for side in ("before", "after"))
    if before == after:
        return []
    header = str(diff.get("after_header") or diff.get("before_header") or "")
    unified = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]
    return ([header] if header else []) + [line for line in unified if not line.startswith("@@")]


def _as_lines(side: Any) -> list[str]:
    if isinstance(side, dict):
        return [f"{key}: {value}" for key, value in sorted(side.items()) if key != "path"]
    return str(side or "").splitlines()
