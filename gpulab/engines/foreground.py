"""A program that has this terminal: it hears the keys, and ends as whoever typed them wants."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpulab.common.console import console

PASSED_ON = (signal.SIGTERM, signal.SIGHUP)


def in_foreground(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> int:
    """Run it to its end: its exit status, of one that a signal ended 128 and the signal's number, as shells say it.

    Ctrl-C is for the program alone. SIGTERM and SIGHUP are passed on. Where standard output holds one object (--json)
    its output goes to standard error. Raises OSError when it can't be started.
    """
    started: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _: Any) -> None:
        for process in started:
            process.send_signal(number)

    handlers = {signal.SIGINT: lambda *_: None, **dict.fromkeys(PASSED_ON, pass_on)}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        aside = sys.stderr if console.file is sys.stderr else None
        started.append(subprocess.Popen(argv, env=env, cwd=cwd, stdout=aside))
        status = started[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - status if status < 0 else status
