"""A build's log: to a file, its newest step beside a spinner, and why it failed in a line."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from gpulab.console import console

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
        return process.wait()


def shortened(step: str) -> str:
    """A step's name and the command itself, without its mounts."""
    return re.sub(r"--mount=\S+\s+", "", step)[:110]


def reason(said: str) -> str:
    """The last words of the step that failed, else buildx's own last line."""
    block = re.search(r"^------\n > .*?:\n(.*?)^------$", said, re.MULTILINE | re.DOTALL)
    lines = [line for line in (block[1] if block and block[1].strip() else said).splitlines() if line.strip()]
    last = [re.sub(r"^(#\d+ )?\d+\.\d+ ", "", line).strip() for line in lines[-3:]]
    return "\n".join(last) or "no word of why"
