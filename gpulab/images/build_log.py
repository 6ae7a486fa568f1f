"""A build's log: to a file, its newest step beside a spinner, and why it failed in a line."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from gpulab.common.console import console

# What a failed build's log says -> what is wrong, and what helps.
CAUSES = (
    (r"[Nn]o space left on device", "the engine's disk is full",
     "free some there: docker system df, docker builder prune"),
    (r"failed to do request|failed to resolve source metadata|pull access denied",
     "the base image was not had from its registry",
     "check its name and the network, or name one at hand: --base IMAGE, or GPULAB_BASE_IMAGE"),
    (r"exec format error|does not match the (specified|host) platform|no match for platform in manifest",
     "the base image is for another platform", "name one for linux/amd64: --base IMAGE, or GPULAB_BASE_IMAGE"),
    (r"[Nn]o interpreter found for Python",
     "the base image lacks the stack's Python", "name one that has it: --base IMAGE, or GPULAB_BASE_IMAGE"),
    (r"dns error|[Ff]ailed to fetch|[Cc]onnection refused|invalid peer certificate",
     "the package index was not reached",
     "check network, mirror (UV_DEFAULT_INDEX) and certificates (SSL_CERT_FILE)"),
    (r"has no usable wheels|no wheels are usable", "a package has no wheel, and docker/stacks.yml does not list it",
     "add it to source_distributions there"),
    (r"Unable to locate package|Failed to fetch .*\.deb", "apt cannot install what the stack asks for",
     "check apt's network and the stack's `apt` in docker/stacks.yml"),
)  # fmt: skip
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


def why(said: str) -> tuple[str, str]:
    """What a failed build's log says, in a line, and what helps; its last words where that is not known."""
    words = last_words(said)
    for pattern, problem, cure in CAUSES:
        if re.search(pattern, words):
            return problem, cure
    return "\n".join(words.splitlines()[-3:]), "run it again when that is cured"


def last_words(said: str) -> str:
    """The output of the step that failed, else buildx's own last lines."""
    block = re.search(r"^------\n > .*?:\n(.*?)^------$", said, re.MULTILINE | re.DOTALL)
    lines = [line for line in (block[1] if block and block[1].strip() else said).splitlines() if line.strip()]
    return "\n".join(re.sub(r"^(#\d+ )?\d+\.\d+ ", "", line).strip() for line in lines[-12:])
