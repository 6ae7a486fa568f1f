"""`inv build`: the images of stacks, parents first, by buildx bake on the engine that docker reaches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from gpulab.common.console import console
from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import CACHE, shown
from gpulab.images.bake_definition import bake_env, network_for, staged
from gpulab.images.base import OWN, base_image, locked_base
from gpulab.images.build_log import follow, why
from gpulab.images.image import Image
from gpulab.images.manifest import is_told, write_manifest
from gpulab.stacks.resolver import first_line
from gpulab.stacks.stack import Stack, load_images, load_stack


def build(names: str, *, base: str, dry: bool) -> Outcome:
    """Build the images of the stacks in `names` (commas between them) that the engine has not; or print the definition.

    Raises UsageError before anything is built where something is missing or stale.
    """
    wanted = [Image(load_stack(name)) for name in names.replace(",", " ").split()]
    if not wanted:
        raise UsageError("name a stack", "./inv build cpu; ./inv stacks lists them")
    line = list({image.tag: image for one in wanted for image in one.line}.values())
    docker = Docker()
    if dry:
        return definitions(line, base, docker)
    check_engine(docker)
    made: list[dict[str, Any]] = []
    for image in line:
        check_lock(image.stack)
        # Where the manifest tells of another image (its writing failed), the build is had again from the cache.
        if docker.try_run("image", "inspect", image.tag).returncode == 0 and is_told(image):
            console.print(f"{image.tag} is there")
            continue
        check_disk(image.stack, docker)
        made.append(bake(image, base, docker))
    return Outcome({"built": made, "images": [image.tag for image in wanted]})


def definitions(line: list[Image], base: str, docker: Docker) -> Outcome:
    """What buildx bake makes of each image's definition. Raises UsageError with its complaint."""
    found: dict[str, Any] = {}
    for image in line:
        name = base or os.environ.get(OWN) or locked_base(load_images().base_for(image.python))
        with staged(image, name, network_for(docker)) as (folder, words):
            argv = docker.argv(*words, "--print")
            done = subprocess.run(
                argv, cwd=folder, env=bake_env(docker), capture_output=True, text=True, check=False, timeout=60
            )
        if done.returncode:
            raise docker.complaint(done.stderr)
        found[image.stack.name] = json.loads(done.stdout)
    return Outcome({"bake": found}, text="\n".join(json.dumps(d, indent=2) for d in found.values()))


def check_engine(docker: Docker) -> None:
    """An engine answers, has buildx, and is of the locks' platform. Raises UsageError."""
    arch = docker.run("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
    if arch != "linux/amd64":
        raise UsageError(
            f"the engine at {docker.at} is {arch}, the locks are for linux/amd64", "build on such a machine"
        )
    if docker.try_run("buildx", "version").returncode:
        raise UsageError("docker has no buildx", "apt-get install docker-buildx-plugin, of Docker's own packages")


def check_lock(stack: Stack) -> None:
    """The lock was resolved from today's pins. Raises UsageError for a stale one, or none."""
    if stack.key and stack.lock.read_text(encoding="utf-8").split("\n", 1)[0] != first_line(stack):
        raise UsageError(f"{shown(stack.lock)} is stale: its pins changed", f"./inv lock --stack {stack.name}")


def check_disk(stack: Stack, docker: Docker) -> None:
    """Room for the layers, where the engine's folder is on this machine. Raises UsageError."""
    root = Path(docker.run("info", "--format", "{{.DockerRootDir}}"))
    needed = 5 if stack.pins.torch != "cuda" else 8 if stack.parent else 25
    free = shutil.disk_usage(root).free / 2**30 if root.is_dir() else needed
    if free < needed:
        raise UsageError(
            f"the image of {stack.name} needs {needed} GiB while it is built, {root} has {free:.1f}",
            "free some space there: docker system df, docker builder prune",
        )


def bake(image: Image, base: str, docker: Docker) -> dict[str, Any]:
    """Build one image and write its manifest; the engine tags it when all of it is done.

    Raises UsageError with the last words of the step that failed.
    """
    began = time.monotonic()
    log = CACHE / "build" / f"{image.stack.name}.log"
    stands_on = base_image(load_images().base_for(image.python), docker, base)
    with staged(image, stands_on, network_for(docker)) as (folder, words):
        argv = docker.argv(*words, "--progress", "plain")
        code = follow(argv, folder, bake_env(docker), f"building {image.tag}", log)
    if code:
        failed = why(log.read_text(encoding="utf-8", errors="replace"))
        raise UsageError(f"{image.tag} was not built: {failed.message}", f"{failed.cure}; its log: {shown(log)}")
    seconds = round(time.monotonic() - began, 1)
    manifest = write_manifest(image, stands_on, seconds, docker)
    size = json.loads(manifest.read_text(encoding="utf-8"))["bytes"]
    console.print(f"[green]✓[/] {image.tag} {seconds:.0f} s, {size / 1e9:.2f} GB, {shown(manifest)}")
    return {"stack": image.stack.name, "tag": image.tag, "seconds": seconds, "bytes": size, "manifest": manifest}
