"""A stack's lock in the parts that it is installed in: torch and CUDA, other wheels, what is compiled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpulab.stacks.resolver import CUDA_PACKAGE

if TYPE_CHECKING:
    from gpulab.stacks.stack import Stack

PARTS = ("torch", "rest", "sources")


def entries(lock: str) -> dict[str, str]:
    """Package -> its lines of a lock's text: the pin (pins, in a universal lock) and the hashes."""
    found: dict[str, str] = {}
    for block in re.findall(r"^[a-z0-9].*(?:\n .*)*", lock, re.MULTILINE):
        name = re.split(r"[=\[]", block, maxsplit=1)[0]
        found[name] = f"{found.get(name, '')}{block}\n"
    return found


def lock_parts(stack: Stack, without: Stack | None = None) -> dict[str, str]:
    """The lock as requirement files, by part; without what the stack `without` has. torch's CPU build is in no lock."""
    left_out = entries(without.lock.read_text(encoding="utf-8")) if without else {}
    made = dict.fromkeys(PARTS, "")
    for name, block in entries(stack.lock.read_text(encoding="utf-8")).items():
        if name not in left_out:
            heavy = name == "torch" or CUDA_PACKAGE.match(name)
            made["sources" if name in stack.sources else "torch" if heavy else "rest"] += block
    return made
