"""uv, the field's installer and resolver, as the lab runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from gpulab.common.console import console
from gpulab.common.errors import UsageError

NETWORK = "check network, mirror (UV_DEFAULT_INDEX) and disk; then run it again"


def pip_settings() -> dict[str, str]:
    """What pip is told on this machine, by option name (`index-url`, `find-links` ...): uv reads none of it itself."""
    base = getattr(sys, "_base_executable", sys.executable)
    listed = subprocess.run([base, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    found = dict(re.findall(r"^(?:global|install|user|site)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    return found | {k[4:].lower().replace("_", "-"): v for k, v in os.environ.items() if k.startswith("PIP_")}


def environment() -> dict[str, str]:
    """The environment for uv: this process's, with pip's index handed on where uv was told none."""
    env = dict(os.environ)
    index = pip_settings().get("index-url")
    if index and not ({"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & env.keys()):
        env["UV_DEFAULT_INDEX"] = index
    return env


def uv(arguments: list[str], failure: str, doing: str, cure: str = NETWORK) -> str:
    """Run uv and return its standard output; `doing` stands beside a spinner. Raises UsageError with uv's reason."""
    program = str(Path(sys.executable).parent / "uv")
    return run([program, *arguments, "--quiet"], environment(), failure, doing, cure)


def run(argv: list[str], env: Mapping[str, str], failure: str, doing: str, cure: str = NETWORK) -> str:
    """Run what runs uv, likewise."""
    began = time.monotonic()
    with console.status(f"{doing} ..."):
        done = subprocess.run(argv, env=env, text=True, check=False, capture_output=True)
    if done.returncode:
        reason = "\n".join(line for line in done.stderr.splitlines() if line.strip())[-1500:]
        raise UsageError(f"{failure}:\n{reason}", cure)
    console.print(f"  {doing}: {time.monotonic() - began:.0f} s")
    return done.stdout
