"""Engines carry out a Plan: `local` in the stack's venv, `docker` in its image, here or on hosts, `slurm` as a job."""

from __future__ import annotations

from collections.abc import Sequence

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError, nearest
from gpulab.engines.docker import DockerEngine
from gpulab.engines.engine import Engine
from gpulab.engines.local import LocalEngine
from gpulab.engines.remote import RemoteDockerEngine
from gpulab.engines.slurm import SlurmEngine
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.inventory import load_hosts
from gpulab.hosts.login import login_host
from gpulab.stacks.stack import Stack

__all__ = ["Engine", "choose_engine"]
ENGINES = (LocalEngine.name, DockerEngine.name, SlurmEngine.name)


def choose_engine(
    name: str, stack: Stack, compute_nodes: Sequence[ComputeNode] = (), inventory: str = "", *, requeue: bool = False
) -> Engine:
    """The engine of that name; without one `local` here and `docker` on a host. Raises UsageError where it can't be."""
    name = name or (DockerEngine.name if compute_nodes else LocalEngine.name)
    if name not in ENGINES:
        raise UsageError(f"no engine {name!r}", nearest(name, list(ENGINES)))
    if requeue and name != SlurmEngine.name:
        raise UsageError("--requeue is for jobs in a queue", "--engine slurm, or leave it out")
    if name == SlurmEngine.name:
        if not compute_nodes:
            raise UsageError("--engine slurm needs the hosts whose queue it is", "--hosts gpus.ini")
        return SlurmEngine(stack, compute_nodes, login_host(load_hosts(inventory)), requeue=requeue)
    if compute_nodes:
        if name == LocalEngine.name:
            raise UsageError("--engine local runs on this machine", "leave --engine out: on hosts it is docker")
        return RemoteDockerEngine(stack, compute_nodes)
    return LocalEngine(stack) if name == LocalEngine.name else DockerEngine(stack, Docker())
