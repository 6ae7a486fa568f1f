"""What buildx bake is told about one image: docker-bake.hcl's common part, and a target from docker/stacks.yml."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpulab.common.docker import Docker
from gpulab.common.paths import CACHE
from gpulab.common.uv import environment
from gpulab.images import build_context
from gpulab.images.image import Image

FILES = ("docker-bake.hcl", "stack.json")
LABEL = "org.opencontainers.image"


def target(image: Image, network: str) -> dict[str, Any]:
    """The bake target of one image: arguments, tag, labels, secrets; versions all from docker/stacks.yml."""
    pins = image.stack.pins
    made: dict[str, Any] = {
        "inherits": ["_common"],
        "args": {
            "BASE_IMAGE": image.base,
            "PARENT": image.parent.tag if image.parent else "ground",
            "PYTHON": build_context.python(image.stack),
            "APT": " ".join(pins.apt),
            "TORCH_FROM": " ".join(build_context.torch_from(image.stack)),
        },
        "tags": [image.tag],
        "labels": {
            f"{LABEL}.title": f"gpulab/{image.stack.name}",
            f"{LABEL}.description": pins.about,
            f"{LABEL}.version": image.key,
            f"{LABEL}.base.name": image.base,
            "gpulab.stack": image.stack.name,
            "gpulab.lock": image.stack.key,
        },
        "secret": secrets(),
    }
    return made | ({"network": network} if network else {})


def secrets() -> list[str]:
    """This network's certificates and package index, where uv is told of some: mounted, in no layer."""
    env = environment()
    bundle = next((env[name] for name in ("SSL_CERT_FILE", "PIP_CERT") if env.get(name)), "")
    index = next((name for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL") if env.get(name)), "")
    return [*([f"id=ca,src={bundle}"] if bundle else []), *([f"id=index,env={index}"] if index else [])]


@contextmanager
def staged(image: Image, network: str, *, verify: bool = True) -> Iterator[tuple[Path, list[str]]]:
    """A folder with all that the image is built from, and docker's words to build it there. It is gone afterwards."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"build-{image.stack.name}-", dir=CACHE) as place:
        folder = Path(place)
        build_context.stage(image.stack, folder, verify=verify)
        written = {"target": {image.stack.name: target(image, network)}}
        (folder / "stack.json").write_text(json.dumps(written), encoding="utf-8")
        files = [word for name in FILES for word in ("--file", name)]
        allow = [f"--allow=network.{network}"] if network else []
        yield folder, ["buildx", "bake", *files, *allow, image.stack.name]


def bake_env(docker: Docker) -> dict[str, str]:
    """buildx's environment: the engine's own builder (others do not see its images), no attestations of its own."""
    at = docker.try_run("context", "show")
    return environment() | docker.env() | {
        "BUILDX_BUILDER": at.stdout.strip() or "default",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        "BUILDX_BAKE_ENTITLEMENTS_FS": "0",  # the certificates lie outside the folder
    }  # fmt: skip


def network_for(docker: Docker) -> str:
    """`host` where the engine has no bridge for a build's steps, else nothing."""
    asked = docker.try_run("network", "inspect", "bridge")
    return "host" if asked.returncode and "network bridge not found" in asked.stderr else ""
