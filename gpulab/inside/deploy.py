"""`swift deploy`, its API key taken from the environment: on a command line every user of the machine can read it.

    GPULAB_API_KEY=... python deploy.py --model MODEL --port 8000

ms-swift logs its arguments when it reads them, so that the key is set after that.
"""

import os
import sys

from swift.pipelines.infer.deploy import SwiftDeploy


def main(words: list[str]) -> None:
    """Serve until it is stopped."""
    server = SwiftDeploy(words)
    if key := os.environ.get("GPULAB_API_KEY"):
        server.args.api_key = key
        server._install_auth_middleware()
    server.args.port = int(words[words.index("--port") + 1])  # ms-swift moves to another, without a word
    server.main()


if __name__ == "__main__":
    main(sys.argv[1:])
