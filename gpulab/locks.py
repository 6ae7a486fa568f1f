"""`inv lock`: the hashed locks, derived from docker/stacks.yml and pyproject.toml."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gpulab import installer
from gpulab.console import console
from gpulab.errors import UsageError
from gpulab.flags import KNOWN
from gpulab.paths import CONTROL_LOCK, ROOT, shown
from gpulab.stacks import Stack, load_stack, load_stacks
from gpulab.verb import Outcome

FLAGS_FROM = "cpu"  # the stack whose ms-swift is asked for its flags: the one that every machine can make


def write_flags(stack: Stack) -> Path:
    """Write docker/flags.json from ms-swift's own argument classes. Raises UsageError when they can't be imported."""
    stack.ensure()
    script = ROOT / "gpulab" / "swift_flags.py"
    done = subprocess.run([stack.bin / "python", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(
            f"ms-swift's arguments can't be read: {done.stderr[-500:]}",
            f"./inv lab quickstart tries the stack {stack.name}",
        )
    KNOWN.write_text(done.stdout, encoding="utf-8")
    return KNOWN


def make_locks(name: str) -> Outcome:
    """Lock one stack, `control` (the lab's own tools), or all of them."""
    made = []
    if name in ("", "control"):
        console.print("locking control ...")
        installer.compile_project(ROOT / "pyproject.toml", CONTROL_LOCK)
        made.append(CONTROL_LOCK)
    if name != "control":
        for stack in [load_stack(name)] if name else load_stacks().values():
            console.print(f"locking {stack.name} ...")
            installer.compile_lock(stack.lock, stack.pins)
            made.append(stack.lock)
    if name in ("", FLAGS_FROM):
        made.append(write_flags(load_stack(FLAGS_FROM)))
    return Outcome({"locks": made}, text="\n".join(shown(path) for path in made))
