"""`inv lock`: the hashed locks, derived from docker/stacks.yml and pyproject.toml."""

from __future__ import annotations

from gpulab import installer
from gpulab.console import console
from gpulab.paths import CONTROL_LOCK, ROOT, shown
from gpulab.stacks import load_stack, load_stacks
from gpulab.verb import Outcome


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
    return Outcome({"locks": made}, text="\n".join(shown(path) for path in made))
