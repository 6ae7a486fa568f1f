"""What an engine has of the lab's images, and whether two engines have the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gpulab.common.docker import Docker

SECONDS = 30  # for an answer of an engine that only looks something up


@dataclass(frozen=True)
class Found:
    """An image on one engine. `id` is the same wherever the image is: see `identity`."""

    tag: str
    id: str
    size: int
    created: str
    digests: tuple[str, ...]
    layers: tuple[str, ...]


def look(docker: Docker, tags: Iterable[str]) -> dict[str, Found]:
    """Those of `tags` that the engine has; one that is removed meanwhile is not there. Raises UsageError where the
    engine does not answer."""
    there = present(docker)
    wanted = [tag for tag in tags if tag in there]
    if not wanted:
        return {}
    done = docker.try_run("image", "inspect", "--format", "{{json .}}", *wanted, timeout=SECONDS)
    if done.returncode and "no such image" not in done.stderr.lower():
        raise docker.complaint(done.stderr)
    told = [json.loads(line) for line in done.stdout.splitlines() if line]
    return {tag: _found(tag, inspected) for inspected in told for tag in wanted if tag in inspected["RepoTags"]}


def present(docker: Docker) -> list[str]:
    """The tags of all the lab's images that the engine has, those of other states of docker/ too."""
    said = docker.run(
        "image", "ls", "--filter", "reference=gpulab/*", "--format", "{{.Repository}}:{{.Tag}}", timeout=SECONDS
    )
    return said.split()


def identity(inspected: dict[str, Any]) -> str:
    """12 hex digits over what makes an image what it is: its layers' contents and what runs in them.

    The engine's own id won't do: it is the digest of the configuration or of the manifest, by how the engine keeps
    images. Layers are named by the digest of their uncompressed contents, on every engine and after every way there.
    """
    config = inspected.get("Config") or {}
    runs = {key: config.get(key) or None for key in ("Env", "Entrypoint", "Cmd", "User", "WorkingDir", "Labels")}
    made_of = [inspected["Os"], inspected["Architecture"], inspected["Created"], inspected["RootFS"]["Layers"], runs]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]


def _found(tag: str, inspected: dict[str, Any]) -> Found:
    return Found(
        tag=tag, id=identity(inspected), size=inspected["Size"], created=inspected["Created"],
        digests=tuple(inspected.get("RepoDigests") or ()), layers=tuple(inspected["RootFS"]["Layers"]),
    )  # fmt: skip


def total_size(found: Iterable[Found]) -> int:
    """The bytes of several images; one whose layers are all in another's (a stack that it is `from`) counts once."""
    images = list({image.layers: image for image in found}.values())

    def inside_another(image: Found) -> bool:
        return any(o is not image and o.layers[: len(image.layers)] == image.layers for o in images)

    return sum(image.size for image in images if not inside_another(image))
