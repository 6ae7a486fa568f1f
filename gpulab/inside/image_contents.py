"""Runs inside an image, standard library only: what is installed there, as JSON on standard output."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import subprocess
from typing import Any


def distributions() -> list[dict[str, str]]:
    """Every Python package: name as the index normalises it, version, licence in a line."""
    found = []
    for package in importlib.metadata.distributions():
        meta: Any = package.metadata
        licence = str(meta.get("License-Expression") or meta.get("License") or "").strip().split("\n")[0][:80]
        name = re.sub(r"[-_.]+", "-", meta["Name"]).lower()
        found.append({"name": name, "version": package.version, "licence": licence})
    return sorted(found, key=lambda d: d["name"])


def debian() -> list[dict[str, str]]:
    """Every package of the distribution."""
    argv = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return [dict(zip(("name", "version"), line.split(), strict=True)) for line in lines]


if __name__ == "__main__":
    release = platform.freedesktop_os_release()
    print(
        json.dumps(
            {
                "python": platform.python_version(),
                "system": f"{release['ID']}-{release.get('VERSION_ID', '')}",
                "packages": distributions(),
                "debian": debian(),
            }
        )
    )
