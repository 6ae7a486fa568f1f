"""Which state of the repository a run was made from."""

from __future__ import annotations

import subprocess
from typing import Any

from gpulab.common.paths import ROOT


def git_state() -> dict[str, Any]:
    """The repository's commit and whether anything differs from it; empty outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(git("status", "--porcelain"))} if commit else {}
