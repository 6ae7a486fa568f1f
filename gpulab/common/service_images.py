"""Others' images that services run: by the digest of what was pulled first, wherever that is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from gpulab.common.digests import keep, kept, with_digest
from gpulab.common.docker import Docker
from gpulab.common.paths import DOCKER, STACKS_YML
from gpulab.common.yamlfile import load

DIGESTS = DOCKER / "services.json"


def services() -> dict[str, str]:
    """The images of docker/stacks.yml by what they are."""
    named: dict[str, str] = load(STACKS_YML)["node"]["images"]
    return named


def service_image(name: str, docker: Docker, file: Path | None = None) -> str:
    """`name` with the digest of what was pulled first, which docker/services.json keeps: an engine takes no other for
    it. The bare name until then, and on a machine that has it from a file, which brings no digest."""
    file = file or DIGESTS
    found = pulled(name, docker) if "@" not in name else None
    if found and name not in kept(file):
        keep(name, found[0], file)
    return name if found == [] else with_digest(name, file)


def with_kept_digests(names: Sequence[str]) -> list[str]:
    """Each with the digest that is kept of it, for an engine that has none of them yet."""
    return [with_digest(name, DIGESTS) for name in names]


def pulled(name: str, docker: Docker) -> list[str] | None:
    """The digests under which an engine pulled an image; None where it has none of that name, or there is no engine."""
    if not shutil.which("docker"):
        return None
    asked = docker.try_run("image", "inspect", "--format", "{{json .RepoDigests}}", name, timeout=10)
    return None if asked.returncode else [entry.partition("@")[2] for entry in json.loads(asked.stdout)]
