"""Every verb, a table of contents: the logic is in gpulab/. `inv --list` shows them, `inv --help VERB` explains one."""

from __future__ import annotations

from gpulab.verb import Outcome, verb


@verb(help={"stack": "one stack, or `control`; default: all"})
def lock(stack: str = "") -> Outcome:
    """Make the hashed locks from docker/stacks.yml (and gpulab/control.lock from pyproject.toml)."""
    from gpulab.locks import make_locks

    return make_locks(stack)
