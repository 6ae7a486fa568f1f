"""What a machine is, as one JSON object.

`python3 - PART... [pci=FOLDER] [driver=FILE] [rdma=FOLDER]`, fed with this and all that it imports (hosts/shipped.py),
prints the parts asked for; a part that can't be read says so under `error`.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gpulab.inside.machine.containers import containers
from gpulab.inside.machine.environment import environment
from gpulab.inside.machine.gpus import faults, gpus
from gpulab.inside.machine.network import network
from gpulab.inside.machine.pythons import pythons
from gpulab.inside.machine.reading import PLACES
from gpulab.inside.machine.system import kernel_settings, memory, packages, system

PARTS: dict[str, Callable[[], Any]] = {
    "system": system, "memory": memory, "gpus": gpus, "containers": containers, "network": network,
    "environment": environment, "kernel_settings": kernel_settings, "packages": packages, "faults": faults,
    "time": time.time,
}  # fmt: skip


def look(parts: list[str], prefixes: Sequence[str] = ()) -> dict[str, Any]:
    """The parts asked for; `pythons` looks at `prefixes`, too."""
    every: dict[str, Callable[[], Any]] = {**PARTS, "pythons": functools.partial(pythons, prefixes)}
    return {name: attempt(every[name]) for name in parts}


def attempt(part: Callable[[], Any]) -> Any:
    """A part, or why it can't be read: one that fails does not cost the others."""
    try:
        return part()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    PLACES |= dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    print(json.dumps(look([word for word in sys.argv[1:] if "=" not in word])))
