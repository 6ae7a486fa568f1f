"""What an image is, told beside it: docker/manifests/<stack>.json, and the SBOM <stack>.cdx.json."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpulab.common.docker import Docker
from gpulab.common.files import write_atomically
from gpulab.common.paths import DOCKER, ROOT
from gpulab.images.audit import audit
from gpulab.images.image import Image
from gpulab.images.sbom import sbom

MANIFESTS = DOCKER / "manifests"
LOOK = ROOT / "gpulab/inside/image_contents.py"
# what adds no layer in an image's history
ONLY_WORDS = re.compile(r"^(/bin/sh -c #\(nop\) +)?(ARG|ENV|USER|HEALTHCHECK|CMD|LABEL|ENTRYPOINT|EXPOSE|SHELL)\b")


def write_manifest(image: Image, base: str, seconds: float, docker: Docker) -> Path:
    """Look at the image that was built and write manifest and SBOM. Raises UsageError where the engine fails."""
    inspected = json.loads(docker.run("image", "inspect", image.tag))[0]
    inside = look_inside(image, docker)
    layers = layers_of(image.tag, inspected["RootFS"]["Layers"], docker)
    inherited = json.loads(docker.run("image", "inspect", image.parent.tag))[0]["RootFS"] if image.parent else {}
    built = datetime.now(timezone.utc).isoformat(timespec="seconds")
    manifest: dict[str, Any] = {
        "stack": image.stack.name,
        "tag": image.tag,
        "id": inspected["Id"],
        "repo_digests": inspected["RepoDigests"],
        "platform": f"{inspected['Os']}/{inspected['Architecture']}",
        "base": base,
        "parent": image.parent.tag if image.parent else None,
        "system": inside["system"],
        "python": inside["python"],
        "built": built,
        "build_seconds": seconds,
        "bytes": sum(layer["bytes"] for layer in layers),
        "own_bytes": sum(x["bytes"] for x in layers if x["digest"] not in inherited.get("Layers", [])),
        "layers": layers,
        "made_from_source": sorted(set(image.stack.sources) - set(image.parent.stack.sources if image.parent else ())),
        "vulnerabilities": audit(image.stack),
        "packages": {p["name"]: p["version"] for p in inside["packages"]},
    }
    MANIFESTS.mkdir(exist_ok=True)
    write_atomically(MANIFESTS / f"{image.stack.name}.cdx.json", sbom(image, inside, built))
    path = MANIFESTS / f"{image.stack.name}.json"
    write_atomically(path, json.dumps(manifest, indent=1) + "\n")
    return path


def is_told(image: Image) -> bool:
    """Whether the manifest is this image's."""
    path = MANIFESTS / f"{image.stack.name}.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("tag") == image.tag


def look_inside(image: Image, docker: Docker) -> dict[str, Any]:
    """What look.py sees in the image."""
    code = LOOK.read_text(encoding="utf-8")
    words = ("run", "--rm", "--network", "none", "--entrypoint", "python", image.tag, "-c", code)
    found: dict[str, Any] = json.loads(docker.run(*words, timeout=300))
    return found


def layers_of(tag: str, digests: list[str], docker: Docker) -> list[dict[str, Any]]:
    """The layers, the lowest first: digest, bytes unpacked, the step that made it."""
    lines = docker.run("history", "--no-trunc", "--human=false", "--format", "{{json .}}", tag).splitlines()
    steps = [json.loads(line) for line in reversed(lines)]
    made = [step for step in steps if not ONLY_WORDS.match(step["CreatedBy"])]
    if len(made) != len(digests):
        raise ValueError(f"{tag}: {len(digests)} layers, but {len(made)} steps that make one")
    return [
        {"digest": digest, "bytes": int(step["Size"]), "step": step_of(step["CreatedBy"])}
        for digest, step in zip(digests, made, strict=True)
    ]


def step_of(created: str) -> str:
    """The command itself, without arguments given before it and its comment."""
    return (
        re.sub(r"^RUN (\|\d+ .*?)?/bin/sh -c ", "RUN ", created.removesuffix(" # buildkit"))[:160] or "the base image"
    )
