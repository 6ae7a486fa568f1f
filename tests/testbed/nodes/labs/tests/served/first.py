"""Leaves a mark each time it is carried out."""

import sys
from pathlib import Path

with Path(sys.argv[1]).open("a") as out:
    out.write("first")
