"""Python runs this at its start where this folder is the first in PYTHONPATH that has such a file."""

from __future__ import annotations

import torchvision_operators  # noqa: F401 (what it does, it does as it is imported)
