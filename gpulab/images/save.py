"""`inv save`: images into a tarball."""

from __future__ import annotations

from dataclasses import asdict

from rich.filesize import decimal

from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.images.disk import insist_on_folder
from gpulab.images.inspect import total_size
from gpulab.images.named import images_of, insist
from gpulab.images.progress import Transfers
from gpulab.images.streams import saving
from gpulab.images.tarball import beside, target, write
from gpulab.images.targets import here

AT_BEST = 0.3  # what gzip leaves of the largest part of a stack, compiled libraries


def save(stacks: str, *, file: str) -> Outcome:
    """Write the stacks' images into `file`. Raises UsageError; then there is no new file."""
    path = target(file)
    images = images_of(stacks)
    docker = here().docker
    found = insist(docker, images)
    size = total_size(found.values())
    squeeze = path.name.endswith(".gz")
    insist_on_folder(path.parent, int(size * AT_BEST) if squeeze else size)
    with Transfers() as transfers, transfers.one(f"save {shown(path)}", total=None if squeeze else size) as transfer:
        tarball = write(path, saving(docker, list(found), squeeze), found.values(), transfer.advance)
    about = {"file": str(path), "bytes": tarball.size, "sha256": tarball.sha256}
    text = f"{shown(path)} ({decimal(tarball.size)}) and {beside(path).name}; there: ./inv load {path.name}"
    return Outcome({**about, "images": [asdict(held) for held in tarball.images]}, text=text)
