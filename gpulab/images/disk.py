"""Is there room for an image, before gigabytes are on their way?"""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.filesize import decimal

from gpulab.common.errors import UsageError
from gpulab.common.paths import shown
from gpulab.hosts.ssh import ask
from gpulab.images.inspect import SECONDS
from gpulab.images.targets import Place


def insist_on_folder(folder: Path, needed: int) -> None:
    """Raise UsageError unless a folder of this machine has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UsageError(f"{needed_and_free(needed, free)} in {shown(folder)}", "free some, or name another folder")


def insist_on_engine(place: Place, needed: int) -> None:
    """Raise UsageError unless the engine's disk has `needed` bytes free, as far as that can be known."""
    free = free_at(place)
    if free is not None and free < needed:
        raise UsageError(
            f"{place.name}: {needed_and_free(needed, free)} where the engine keeps its images",
            "free some there: docker system df, docker system prune",
        )


def free_at(place: Place) -> int | None:
    """The free bytes of the engine's disk; None where nothing tells."""
    root = place.docker.run("info", "--format", "{{.DockerRootDir}}", timeout=SECONDS)
    if place.host is None or place.host.local:
        # The engine may be elsewhere (DOCKER_HOST), or this user may not look.
        return shutil.disk_usage(root).free if Path(root).exists() else None
    answer = ask([place.host], lambda _: ["df", "--block-size=1", "--output=avail", root])[place.name]
    words = answer.stdout.split()
    return int(words[-1]) if words and words[-1].isdigit() else None


def needed_and_free(needed: int, free: int) -> str:
    """In words."""
    return f"it takes {decimal(needed)}, there are {decimal(free)}"
