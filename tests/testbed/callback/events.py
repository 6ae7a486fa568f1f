"""Ansible callback for the testbed's scenarios: one JSON line for each result."""

import json
import os
from pathlib import Path
from typing import Any

from ansible.executor.task_result import CallbackTaskResult
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: events
type: notification
short_description: One JSON line for each result, for the testbed's scenarios
description: Appends to the file that TESTBED_EVENTS names.
options: {}
"""


def diffs(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a result, or of every turn of a loop, what differs."""
    found = [turn.get("diff") or [] for turn in data.get("results") or [data]]
    return [diff for some in found for diff in (some if isinstance(some, list) else [some])]


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "events"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, result: CallbackTaskResult, failed: bool = False) -> None:
        data = result.result
        with Path(os.environ["TESTBED_EVENTS"]).open("a") as events:
            line = {
                "host": result.host.get_name(),
                "task": result.task.get_name(),
                "changed": bool(data.get("changed")),
                "failed": failed,
                "message": str(data.get("msg", "")),
                "diffs": diffs(data),
            }
            events.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._write(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._write(result, failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        self._write(result, failed=True)
