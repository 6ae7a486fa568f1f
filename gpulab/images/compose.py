"""compose/.env: what docker compose has to know of this checkout and its user, from the places where it is written."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.files import write_atomically
from gpulab.common.outcome import Outcome
from gpulab.common.paths import COMPOSE, DOCKER, ROOT, STACKS_YML, runs_dir, shown
from gpulab.common.yamlfile import load
from gpulab.images.digests import keep, kept, with_digest
from gpulab.images.image import Image
from gpulab.stacks.stack import load_stacks

DIGESTS = DOCKER / "services.json"
CACHES = {"GPULAB_MODELSCOPE_CACHE": ("MODELSCOPE_CACHE", "~/.cache/modelscope"),
          "GPULAB_HF_HOME": ("HF_HOME", "~/.cache/huggingface")}  # fmt: skip


def write_env() -> Outcome:
    """Write compose/.env. Raises UsageError when docker/stacks.yml is not well, or a folder can't be made."""
    folders = {name: Path(os.environ.get(own) or usual).expanduser() for name, (own, usual) in CACHES.items()}
    folders["GPULAB_RUNS"] = runs_dir()
    user = {"GPULAB_USER": f"{os.getuid()}:{os.getgid()}"}
    path = COMPOSE / ".env"
    try:
        own = {"GPULAB_ROOT": str(ROOT), **{name: str(folder) for name, folder in folders.items()}}
        every = {**images(), **user, **own}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)  # docker would make it root's
        lines = [f"{name}={value}" for name, value in every.items()]
        write_atomically(path, "\n".join(["# made by ./inv images --env", *lines, ""]))
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", "is it yours, and is there space?") from None
    cure = f"cd {shown(COMPOSE)} && docker compose --profile serve up -d --wait"
    return Outcome({"file": str(path), "env": every}, text=f"{shown(path)} is written: {cure}")


def images() -> dict[str, str]:
    """GPULAB_IMAGE_<STACK> of every stack that has a lock, and of the services that are others'."""
    ours = {name: Image(stack).tag for name, stack in load_stacks().items() if stack.lock.is_file()}
    others = {name: service_image(tag, Docker()) for name, tag in load(STACKS_YML)["node"]["images"].items()}
    return {"GPULAB_IMAGE_" + name.upper().replace("-", "_"): tag for name, tag in {**ours, **others}.items()}


def service_image(name: str, docker: Docker, file: Path = DIGESTS) -> str:
    """`name` with the digest of what was pulled first, which docker/services.json keeps: an engine takes no other for
    it. The bare name until then, and on a machine that has it from a file, which brings no digest."""
    found = pulled(name, docker) if "@" not in name else None
    if found and name not in kept(file):
        keep(name, found[0], file)
    return name if found == [] else with_digest(name, file)


def pulled(name: str, docker: Docker) -> list[str] | None:
    """The digests under which the engine here pulled an image; None where it has none of that name, or there is no
    engine."""
    if not shutil.which("docker"):
        return None
    asked = docker.try_run("image", "inspect", "--format", "{{json .RepoDigests}}", name, timeout=10)
    return None if asked.returncode else [entry.partition("@")[2] for entry in json.loads(asked.stdout)]
