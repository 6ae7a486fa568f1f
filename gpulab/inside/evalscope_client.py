"""EvalScope's own command, the server's key taken from the environment: on a command line every user can read it.

GPULAB_API_KEY=... python evalscope_client.py eval --model MODEL --api-url URL ...
"""

import os
import sys

from evalscope.cli.cli import run_cmd


def main(words: list[str]) -> None:
    """Carry out the command."""
    sys.argv = ["evalscope", *words, "--api-key", os.environ.get("GPULAB_API_KEY") or "EMPTY"]
    run_cmd()


if __name__ == "__main__":
    main(sys.argv[1:])
