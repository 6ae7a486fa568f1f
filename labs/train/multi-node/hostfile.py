"""hostfile.py FILE NODES PROCESSES: the file from which DeepSpeed's launcher knows how many ranks each node has."""

from __future__ import annotations

import sys
from pathlib import Path

nodes, processes = int(sys.argv[2]), int(sys.argv[3])
Path(sys.argv[1]).write_text("".join(f"node{rank} slots={processes}\n" for rank in range(nodes)), encoding="utf-8")
