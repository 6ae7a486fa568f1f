"""compose/.env: what docker compose has to know of this checkout and its user, from the places where it is written."""

from __future__ import annotations

import os
from pathlib import Path

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.files import write_atomically
from gpulab.common.outcome import Outcome
from gpulab.common.paths import COMPOSE, ROOT, runs_dir, shown
from gpulab.common.service_images import service_image, services
from gpulab.images.image import Image
from gpulab.stacks.stack import load_stacks

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
    others = {name: service_image(tag, Docker()) for name, tag in services().items()}
    return {"GPULAB_IMAGE_" + name.upper().replace("-", "_"): tag for name, tag in {**ours, **others}.items()}
