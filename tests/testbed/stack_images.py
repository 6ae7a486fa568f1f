"""Stacks' images built for real by the testbed's engine: what tests of images and of labs in containers stand on.

`python -m tests.testbed.stack_images cpu` builds one unless it is there, and prints its tag.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from gpulab.images.build_context import python
from gpulab.images.image import Image
from gpulab.stacks.stack import load_stack
from tests.testbed import engine
from tests.testbed.bed import Testbed
from tests.testbed.paths import REPO, SOCKET, exclusive
from tests.testbed.plugins import docker_config
from tests.testbed.pythons import python_base


def environment() -> dict[str, str]:
    """What makes docker, and the lab, use the testbed's engine and plugins."""
    return {**os.environ, "DOCKER_HOST": f"unix://{SOCKET}", "DOCKER_CONFIG": str(docker_config())}


def built(stack: str) -> str:
    """The tag of the stack's image, by `./inv build` as a user types it."""
    image = Image(load_stack(stack))
    engine.start()
    with exclusive(image.tag):
        if engine.docker("image", "inspect", image.tag, check=False).returncode == 0:
            return image.tag
        own = {"GPULAB_BASE_IMAGE": python_base(python(image.stack))}
        done = subprocess.run(
            [REPO / "inv", "build", stack, "--json"], env=environment() | own, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"inv build {stack}: {json.loads(done.stdout)['failures']}\n{done.stderr[-2000:]}")
    return image.tag


def give(bed: Testbed, hosts: Sequence[str], tag: str) -> None:
    """Load an image of the testbed's engine into the hosts' own engines, side by side."""
    archive = bed.directory / "image.tar"
    engine.docker("save", "--output", str(archive), tag)

    def load(host: str) -> None:
        with archive.open("rb") as stream:
            argv = ["docker", "-H", f"unix://{engine.SOCKET}", "exec", "-i", bed.container(host), "docker", "load"]
            subprocess.run(argv, stdin=stream, capture_output=True, check=True)

    with ThreadPoolExecutor() as pool:
        list(pool.map(load, hosts))
    archive.unlink()


if __name__ == "__main__":
    print(built(sys.argv[1]))
