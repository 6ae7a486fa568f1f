"""Where a service is placed: as processes of this machine, or as containers, here or on hosts of an inventory."""

from __future__ import annotations

from gpulab.common.errors import UsageError, nearest
from gpulab.engines.docker import DockerBackend
from gpulab.lab.written import Needs
from gpulab.runs import shell
from gpulab.runs.serve_request import ServeRequest
from gpulab.runs.spec import RunSpec, compute_nodes_for, machines_of
from gpulab.stacks.stack import load_stack

STACKS = {"transformers": "train", "vllm": "vllm", "sglang": "sglang", "lmdeploy": "lmdeploy"}  # on a GPU
STACKS_ON_CPU = {"transformers": "cpu", "vllm": "vllm-cpu"}


def backend_known(backend: str) -> None:
    """Raise UsageError for an unknown one."""
    if backend not in STACKS:
        raise UsageError(f"no backend {backend!r}", nearest(backend, list(STACKS)))


def placed(asked: ServeRequest) -> tuple[RunSpec, bool]:
    """The backend's stack on so many hosts, or here, and whether without GPUs. Raises UsageError where it can't be."""
    backend = asked.backend
    backend_known(backend)
    on_gpu, on_cpu = STACKS[backend], STACKS_ON_CPU.get(backend, "")
    needs = Needs.model_validate({"gpus": asked.gpus})
    count = max(asked.replicas, asked.nodes, 1)
    if asked.spread and backend != "vllm":
        raise UsageError(
            f"--nodes: {backend} serves from one host", "--backend vllm, or --replicas with a model that fits"
        )
    stacks = [name for name in (on_gpu, on_cpu) if name]
    nodes = compute_nodes_for([needs], asked.engine, asked.hosts, asked.limit, count, stacks)
    machines = machines_of(nodes, asked.engine, 1)
    cpu = not all(machine.gpus for machine in machines)
    if cpu and (not on_cpu or asked.gpus or asked.spread):
        without = next(machine.hostname for machine in machines if not machine.gpus)
        what = f"--gpus {asked.gpus}" if asked.gpus else f"--nodes {asked.nodes}" if asked.spread else backend
        raise UsageError(
            f"{what} needs a GPU, {without} has none",
            f"other hosts (--limit), or --backend {' or '.join(STACKS_ON_CPU)} without --gpus and --nodes",
        )
    engine = asked.engine or DockerBackend.name
    spec = shell.opened(load_stack(on_cpu if cpu else on_gpu), engine, asked.hosts, nodes, asked.gpus)
    if not nodes and not cpu and spec.lab.needs.gpus < count:
        raise UsageError(
            f"--replicas {count}: each needs a GPU, here are {spec.lab.needs.gpus}", "fewer, or --hosts gpus.ini"
        )
    return spec, cpu
