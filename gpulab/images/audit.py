"""Known vulnerabilities of what a lock holds: pip-audit, which asks the package index."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpulab.common.console import console
from gpulab.common.uv import environment
from gpulab.stacks.stack import Stack


def audit(stack: Stack) -> dict[str, Any]:
    """{"known": [...]} with package, version, name of the flaw and the versions without it; or why it was not asked."""
    argv = [str(Path(sys.executable).parent / "pip-audit"), "--requirement", str(stack.lock), "--no-deps"]
    argv += ["--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "20"]
    with console.status(f"asking for known vulnerabilities of {stack.name}"):
        done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines() or ["no answer"]
        return {"not_asked": f"pip-audit's data could not be reached: {said[-1][:200]}"}
    known = [
        {"package": p["name"], "version": p["version"], "id": v["id"], "fixed_in": v["fix_versions"]}
        for p in packages
        for v in p.get("vulns", [])
    ]
    unknown = [p["name"] for p in packages if "skip_reason" in p]
    if len(unknown) == len(packages):
        return {"not_asked": f"the index that pip-audit asks tells nothing of any of these {len(packages)} packages"}
    return {"asked": len(packages) - len(unknown), "unknown": unknown, "known": known}
