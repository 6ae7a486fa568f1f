"""Stacks' images built for real by the testbed's engine: what tests of images and of labs in containers stand on.

`python -m tests.testbed.stack_images cpu` builds one unless it is there, and prints its tag.
"""

import json
import os
import subprocess
import sys

from gpulab.build.context import python
from gpulab.image import Image
from gpulab.stacks import load_stack
from tests.testbed import engine
from tests.testbed.paths import REPO, SOCKET
from tests.testbed.plugins import docker_config
from tests.testbed.pythons import python_base


def environment() -> dict[str, str]:
    """What makes docker, and the lab, use the testbed's engine and plugins."""
    return {**os.environ, "DOCKER_HOST": f"unix://{SOCKET}", "DOCKER_CONFIG": str(docker_config())}


def built(stack: str) -> str:
    """The tag of the stack's image, by `./inv build` as a user types it."""
    engine.start()
    image = Image(load_stack(stack))
    if engine.docker("image", "inspect", image.tag, check=False).returncode != 0:
        own = {"GPULAB_BASE_IMAGE": python_base(python(image.stack))}
        done = subprocess.run(
            [REPO / "inv", "build", stack, "--json"], env=environment() | own, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"inv build {stack}: {json.loads(done.stdout)['failures']}\n{done.stderr[-2000:]}")
    return image.tag


if __name__ == "__main__":
    print(built(sys.argv[1]))
