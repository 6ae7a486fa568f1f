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
from tests.testbed.image_links import data_root, link_image, stopped
from tests.testbed.paths import REPO, SOCKET, exclusive
from tests.testbed.plugins import docker_config
from tests.testbed.pythons import base_name, python_base


def environment() -> dict[str, str]:
    """What makes docker, and the lab, use the testbed's engine and plugins."""
    return {**os.environ, "DOCKER_HOST": f"unix://{SOCKET}", "DOCKER_CONFIG": str(docker_config())}


def built(stack: str) -> str:
    """The tag of the stack's image, by `./inv build` as a user types it."""
    base = base_name(python(load_stack(stack)))
    image = Image(load_stack(stack), base)
    engine.start()
    with exclusive(image.tag):
        if engine.docker("image", "inspect", image.tag, check=False).returncode == 0:
            return image.tag
        python_base(python(image.stack))
        words = ["build", stack, "--base", base, "--json"]
        done = subprocess.run([REPO / "inv", *words], env=environment(), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"inv build {stack}: {json.loads(done.stdout)['failures']}\n{done.stderr[-2000:]}")
    return image.tag


def give(bed: Testbed, hosts: Sequence[str], tag: str) -> None:
    """An image of the testbed's engine in the hosts' own."""
    with stopped(bed, hosts), ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: link_image(engine.DATA, data_root(bed, host), tag), hosts))


if __name__ == "__main__":
    print(built(sys.argv[1]))
