"""The image that all others stand on: by digest, the same for everyone; or the one that a closed network has."""

from __future__ import annotations

import json
import os
from pathlib import Path

from gpulab.common.digests import keep, with_digest
from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.paths import DOCKER

DIGESTS = DOCKER / "bases.json"
OWN = "GPULAB_BASE_IMAGE"


def own_base(named: str = "") -> str:
    """The base image that --base names, else GPULAB_BASE_IMAGE; empty where the makers' is taken."""
    return named or os.environ.get(OWN, "")


def locked_base(name: str, digests: Path = DIGESTS) -> str:
    """`name` with the digest that docker/bases.json keeps; the bare name where it has none yet."""
    return with_digest(name, digests)


def base_image(name: str, docker: Docker, digests: Path = DIGESTS) -> str:
    """`name` with its digest, asked of its registry once and kept in docker/bases.json.

    Raises UsageError where the registry does not answer.
    """
    if locked_base(name, digests) == name:
        asked = docker.try_run("buildx", "imagetools", "inspect", name, "--format", "{{json .Manifest}}")
        if asked.returncode:
            raise UsageError(
                f"{name}: its registry gives no digest: {(asked.stderr.strip().splitlines() or ['no answer'])[-1]}",
                f"reach it, or name a base image at hand: --base IMAGE, or {OWN}=IMAGE",
            )
        keep(name, str(json.loads(asked.stdout)["digest"]), digests)
    return locked_base(name, digests)
