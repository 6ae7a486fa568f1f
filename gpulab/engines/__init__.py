"""Engines carry out a Plan: `local` in the stack's venv, `docker` in its image."""

from __future__ import annotations

from gpulab.docker import Docker
from gpulab.engines.docker import DockerEngine
from gpulab.engines.engine import Engine
from gpulab.engines.local import LocalEngine
from gpulab.errors import UsageError, nearest
from gpulab.stacks import Stack

__all__ = ["Engine", "choose_engine"]
ENGINES = (LocalEngine.name, DockerEngine.name)


def choose_engine(name: str, stack: Stack) -> Engine:
    """The engine of that name, for a stack. Raises UsageError for an unknown one."""
    if name not in ENGINES:
        raise UsageError(f"no engine {name!r}", nearest(name, list(ENGINES)))
    return LocalEngine(stack) if name == LocalEngine.name else DockerEngine(stack, Docker())
