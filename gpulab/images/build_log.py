"""A build's log: to a file, its newest step beside a spinner, and why it failed in a line."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from gpulab.common.console import console
from gpulab.common.diagnosis import diagnose
from gpulab.common.failure import Failure

STEP = re.compile(r"^#\d+ (\[.*\] .*)")


def follow(argv: list[str], cwd: Path, env: Mapping[str, str], doing: str, log: Path) -> int:
    """Run buildx (plain progress), its words to `log`. Its exit status; Ctrl-C ends it first."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8", buffering=1) as out,
        console.status(doing) as status,
        subprocess.Popen(
            argv, cwd=cwd, env=env, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - said to the type checker
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            for line in process.stdout:
                out.write(line)
                if step := STEP.match(line):
                    status.update(f"{doing}\n  [dim]{shortened(step[1])}[/]")
                    if not console.is_terminal:
                        console.print(f"  {shortened(step[1])}", markup=False)
        except KeyboardInterrupt:
            process.terminate()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
        return process.wait()


def shortened(step: str) -> str:
    """A step's name and the command itself, without its mounts."""
    return re.sub(r"--mount=\S+\s+", "", step)[:110]


def why(said: str) -> Failure:
    """What a failed build's log says, in a line, and what helps; its last words where that is not known."""
    words = last_words(said)
    return diagnose(words, "build") or Failure("\n".join(words.splitlines()[-3:]), "run it again when that is cured")


def last_words(said: str) -> str:
    """The output of the step that failed, else buildx's own last lines."""
    block = re.search(r"^------\n > .*?:\n(.*?)^------$", said, re.MULTILINE | re.DOTALL)
    lines = [line for line in (block[1] if block and block[1].strip() else said).splitlines() if line.strip()]
    return "\n".join(re.sub(r"^(#\d+ )?\d+\.\d+ ", "", line).strip() for line in lines[-12:])
