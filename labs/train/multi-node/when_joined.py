"""when_joined.py NODES COMMAND...: run it when so many nodes are in the Ray cluster; ms-swift does not wait.

`ray symmetric-run --min-nodes` waits, too, but stays a client of the cluster that it then stops, and ends with it.
"""

from __future__ import annotations

import os
import sys
import time

import ray

WITHIN = 120.0  # seconds

nodes = int(sys.argv[1])
ray.init(log_to_driver=False)
deadline = time.monotonic() + WITHIN
while (there := sum(node["Alive"] for node in ray.nodes())) < nodes:
    if time.monotonic() > deadline:
        sys.exit(f"{there} of {nodes} nodes have joined the Ray cluster within {WITHIN:.0f} s")
    time.sleep(0.5)
ray.shutdown()
os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 (no shell is wanted)
