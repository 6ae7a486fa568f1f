"""Engines carry out a Plan: `local` in the stack's venv, `docker` in its image, here or on hosts, `slurm` as a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError, nearest
from gpulab.engines.backend import Backend, StepBackend
from gpulab.engines.docker import DockerBackend
from gpulab.engines.job_session import JobSession
from gpulab.engines.local import LocalBackend
from gpulab.engines.progress import Watch
from gpulab.engines.remote import RemoteBackend
from gpulab.engines.session import Replan, Session, StepSession
from gpulab.engines.slurm import SlurmBackend
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.inventory import load_hosts
from gpulab.hosts.login import login_host
from gpulab.inside.resume_files import ResumeRequest, Taken
from gpulab.plan.plan import Plan
from gpulab.stacks.stack import Stack

__all__ = ["Backend", "Session", "choose_engine", "open_session"]
ENGINES = (LocalBackend.name, DockerBackend.name, SlurmBackend.name)


def choose_engine(
    name: str, stack: Stack, compute_nodes: Sequence[ComputeNode] = (), inventory: str = "", *,
    others: Iterable[Stack] = (), requeue: bool = False,
) -> Backend:  # fmt: skip
    """The engine of that name; without one `local` here and `docker` on a host. `others`: the stacks of steps that have
    one of their own. Raises UsageError where it can't be."""
    name = name or (DockerBackend.name if compute_nodes else LocalBackend.name)
    if name not in ENGINES:
        raise UsageError(f"no engine {name!r}", nearest(name, list(ENGINES)))
    others = list(others)
    if others and (compute_nodes or name != LocalBackend.name):
        told = " and ".join(sorted({stack.name, *(other.name for other in others)}))
        raise UsageError(
            f"its steps are rehearsed in {told}: an engine other than local has one stack a run",
            "leave --engine and --hosts out",
        )
    if requeue and name != SlurmBackend.name:
        raise UsageError("--requeue is for jobs in a queue", "--engine slurm, or leave it out")
    if name == SlurmBackend.name:
        if not compute_nodes:
            raise UsageError("--engine slurm needs the hosts whose queue it is", "--hosts gpus.ini")
        return SlurmBackend(stack, compute_nodes[0], login_host(load_hosts(inventory)), requeue=requeue)
    if compute_nodes:
        if name == LocalBackend.name:
            raise UsageError("--engine local runs on this machine", "leave --engine out: on hosts it is docker")
        return RemoteBackend(stack, compute_nodes)
    return LocalBackend(stack, others) if name == LocalBackend.name else DockerBackend(stack, Docker())


def open_session(
    backend: Backend, plan: Plan, replan: Replan, watch: Watch, *, resume: ResumeRequest | None = None,
    taken: Taken | None = None,
) -> Session:  # fmt: skip
    """Begin a run on an engine. `replan` makes its plan anew for other ports; `resume`: what there is of the run that
    it resumes; `taken`: what was taken of that already."""
    if isinstance(backend, SlurmBackend):
        return JobSession(backend, plan, watch, resume=resume, taken=taken)
    assert isinstance(backend, StepBackend)  # noqa: S101 (all others are)
    return StepSession(backend, plan, replan, watch, resume=resume, taken=taken)
