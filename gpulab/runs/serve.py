"""`inv serve`: a model behind an OpenAI-compatible API that outlives the terminal."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpulab.common.causes import likely_cause, tail
from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.common.ports import FIRST, can_listen, free_port
from gpulab.engines import service as services
from gpulab.engines import service_containers
from gpulab.engines.docker import DockerBackend
from gpulab.engines.local import stack_environment
from gpulab.inside import ready
from gpulab.plan.layers import environment
from gpulab.plan.machine import this_machine
from gpulab.plan.service_file import KEY, project
from gpulab.records.record import now
from gpulab.records.service import ServiceRecord, all_services
from gpulab.runs import serve_flags
from gpulab.runs.serve_containers import port_of, start
from gpulab.runs.serve_place import STACKS, STACKS_ON_CPU, backend_known, placed
from gpulab.runs.serve_request import ServeRequest
from gpulab.runs.serve_target import Target, adapters, target
from gpulab.stacks.stack import Stack, load_stack

NO_ADAPTERS = ("sglang", "lmdeploy")  # its engines for them know none


def serve(asked: ServeRequest) -> Outcome:
    """Start a service and wait until it answers. Raises UsageError before anything is started."""
    source = target(asked.model)
    service = ServiceRecord(
        name=_name(asked.name or source.name), model=source.model, adapters=adapters(asked.adapter, source.model),
        backend=asked.backend, stack="", port=0, public=asked.public, key=bool(os.environ.get(KEY)), started=now(),
        replicas=asked.replicas or 1,
    )  # fmt: skip
    if not service.key and (service.public or (asked.hosts and service.replicas > 1)):
        raise UsageError(
            f"{'--public' if service.public else 'nginx on one host asks servers on others: that'} needs a key that "
            f"clients send, {KEY} holds none", f"export {KEY}=$(openssl rand -hex 16)",
        )  # fmt: skip
    if service.backend in NO_ADAPTERS and (service.adapters or source.adapter):
        raise UsageError(
            f"ms-swift hands {service.backend} no adapter: it would serve the model alone",
            "merge it (labs/export/merge-lora), or --backend vllm",
        )
    why = (_in_containers if asked.contained else _as_processes)(service, source, asked)
    if why:
        services.end(service)
        for line in tail(service.log, 12):
            console.print(f"    {line}", markup=False, style="dim")
        cause = likely_cause(service.log, serves=True)
        return Outcome(
            failures=[
                f"{service.name} {why}, its log: {shown(service.log)}",
                *([f"likely cause: {cause}"] if cause else []),
            ]
        )
    data = {**service.model_dump(exclude={"argv"}), "url": service.url, "log": service.log, "state": "ready"}
    return Outcome(data, text=f"{service.name} serves at {service.url}; ./inv served, ./inv stop {service.name}")


def _as_processes(service: ServiceRecord, source: Target, asked: ServeRequest) -> str | None:
    """Started in the stack's venv; why it does not answer, in a few words."""
    chosen = serve_flags.settings(asked.settings)
    stack, cpu = _stack(service.backend)
    service.stack, service.port = stack.name, _port(asked.port)
    service.argv = serve_flags.argv(service, source, chosen, str(stack.bin / "python"), service.listens, cpu=cpu)
    stack.ensure()
    cpu = cpu and source.is_here  # a rehearsal's environment reaches no hub
    process = services.start(service, stack_environment(stack, environment(stack, cpu=cpu)))

    def ended() -> str | None:
        return None if process.poll() is None else f"ended with exit {process.returncode}"

    return _waited(service, lambda: ready.answers(service.url, service.name), ended, asked.within)


def _in_containers(service: ServiceRecord, source: Target, asked: ServeRequest) -> str | None:
    """The same in containers of the stack's image."""
    divided = serve_flags.divided(service, source, asked.settings) if asked.spread else None
    chosen = {} if divided else serve_flags.settings(asked.settings)
    spec, cpu = placed(asked)
    stack, first = spec.stack, next(iter(spec.compute_nodes), None)
    service.stack, service.engine = stack.name, DockerBackend.name
    service.project = project(service.folder, service.name)
    if first:
        service.inventory, service.address = str(Path(asked.hosts).absolute()), first.host.address
        service.hosts = [node.host.name for node in spec.compute_nodes]
    service.port = port_of(spec, asked.port, forwarded=not (first and service.public))
    if not divided:
        service.argv = serve_flags.argv(service, source, chosen, "python", spec.engine.network.bind, cpu=cpu)
    if not source.is_here:
        spec = replace(spec, profile="gpu")  # not a rehearsal's environment, and with the caches of models
    env = environment(stack, cpu=spec.profile == "cpu")
    given = [Path(source.model), *source.adapters, *map(Path, service.adapters.values())]
    start(spec, service, env, given, asked.within, divided)

    def ended() -> str | None:
        service_containers.connect(service)
        return service_containers.ended(service)

    def answers() -> bool:  # through nginx one replica is enough for an answer: each has to have given one
        each = service.replicas == 1 or not service_containers.starting(service)
        return each and ready.answers(service.url, service.name)

    return _waited(service, answers, ended, asked.within)


def _stack(backend: str) -> tuple[Stack, bool]:
    """The stack of a backend on this machine, and whether it is for a CPU."""
    backend_known(backend)
    cpu = not this_machine().gpus
    if cpu and backend not in STACKS_ON_CPU:
        raise UsageError(f"{backend} needs a GPU, here is none", f"--backend {' or '.join(STACKS_ON_CPU)}")
    return load_stack((STACKS_ON_CPU if cpu else STACKS)[backend]), cpu


def _name(name: str) -> str:
    """What it is called: by clients, and as a folder."""
    made = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    if not made:
        raise UsageError(f"{name!r} is no name for a service", "--name capitals")
    if any(service.name == made and services.is_up(service) for service in all_services()):
        raise UsageError(f"{made} is served already", f"./inv stop {made}, or --name another")
    return made


def _port(port: int) -> int:
    """The port asked for, or the first free one that no service has."""
    theirs = {service.port: service.name for service in all_services()}
    if not port:
        return free_port(FIRST, taken=theirs)
    if not 0 < port < 65536:
        raise UsageError(f"--port {port}: not a port", "a number from 1 to 65535")
    if not can_listen(port):
        raise UsageError(
            f"port {port} is taken{f' by {theirs[port]}' if port in theirs else ''}", "another --port, or none"
        )
    return port


def _waited(
    service: ServiceRecord, answers: Callable[[], bool], ended: Callable[[], str | None], within: int
) -> str | None:
    """Wait for a real completion; why there is none, in a few words. Ctrl-C ends the service."""
    deadline = time.monotonic() + within
    try:
        with console.status(f"{service.name} is loaded ..."):
            while not answers():
                if why := ended():
                    return why
                if time.monotonic() > deadline:
                    return f"did not answer within {within} s"
                time.sleep(0.5)
    except BaseException:
        services.end(service)
        raise
    return None
