"""`inv serve`, `inv served`, `inv stop`: a model behind an OpenAI-compatible API that outlives the terminal."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gpulab.common.causes import likely_cause, tail
from gpulab.common.console import console
from gpulab.common.errors import UsageError, nearest
from gpulab.common.failure import Failure
from gpulab.common.listing import listing
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
from gpulab.plan.vllm_nodes import Model
from gpulab.records.record import now
from gpulab.records.service import ServiceRecord, all_services
from gpulab.runs import serve_flags
from gpulab.runs.serve_containers import port_of, start
from gpulab.runs.serve_flags import Flags
from gpulab.runs.serve_place import STACKS, STACKS_ON_CPU, Where, backend_known, placed
from gpulab.runs.serve_target import Target, adapters, target
from gpulab.stacks.stack import Stack, load_stack

NO_ADAPTERS = ("sglang", "lmdeploy")  # its engines for them know none


def serve(
    model: str, backend: str, adapter: Sequence[str], port: int, name: str, settings: Sequence[str], within: int,
    *, public: bool, engine: str = "", hosts: str = "", limit: str = "", gpus: int = 0, replicas: int = 0,
    nodes: int = 0,
) -> Outcome:  # fmt: skip
    """Start a service and wait until it answers. Raises UsageError before anything is started."""
    where = Where(engine=engine, hosts=hosts, limit=limit, gpus=gpus, replicas=replicas, nodes=nodes)
    where.check()
    asked = target(model)
    service = ServiceRecord(
        name=_name(name or asked.name), model=asked.model, adapters=adapters(adapter, asked.model), backend=backend,
        stack="", port=0, public=public, key=bool(os.environ.get(KEY)), started=now(), replicas=where.replicas or 1,
    )  # fmt: skip
    if not service.key and (public or (where.hosts and service.replicas > 1)):
        raise UsageError(
            f"{'--public' if public else 'nginx on one host asks servers on others: that'} needs a key that clients "
            f"send, {KEY} holds none", f"export {KEY}=$(openssl rand -hex 16)",
        )  # fmt: skip
    if backend in NO_ADAPTERS and (service.adapters or asked.adapter):
        raise UsageError(
            f"ms-swift hands {backend} no adapter: it would serve the model alone",
            "merge it (labs/export/merge-lora), or --backend vllm",
        )
    chosen = {} if where.spread else serve_flags.settings(settings)
    if where.contained:
        divided = serve_flags.divided(service, asked, settings) if where.spread else None
        why = _in_containers(service, asked, chosen, where, port, within, divided)
    else:
        why = _as_processes(service, asked, chosen, port, within)
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


def _as_processes(service: ServiceRecord, asked: Target, chosen: Flags, port: int, within: int) -> str | None:
    """Started in the stack's venv; why it does not answer, in a few words."""
    stack, cpu = _stack(service.backend)
    service.stack, service.port = stack.name, _port(port)
    service.argv = serve_flags.argv(service, asked, chosen, str(stack.bin / "python"), service.listens, cpu=cpu)
    stack.ensure()
    cpu = cpu and asked.is_here  # a rehearsal's environment reaches no hub
    process = services.start(service, stack_environment(stack, environment(stack, cpu=cpu)))

    def ended() -> str | None:
        return None if process.poll() is None else f"ended with exit {process.returncode}"

    return _waited(service, ended, within)


def _in_containers(
    service: ServiceRecord, asked: Target, chosen: Flags, where: Where, port: int, within: int, divided: Model | None
) -> str | None:
    """The same in containers of the stack's image."""
    spec, cpu = placed(service.backend, where)
    stack, first = spec.stack, next(iter(spec.compute_nodes), None)
    service.stack, service.engine = stack.name, DockerBackend.name
    service.project = project(service.folder, service.name)
    if first:
        service.inventory, service.address = str(Path(where.hosts).absolute()), first.host.address
        service.hosts = [node.host.name for node in spec.compute_nodes]
    service.port = port_of(spec, port, forwarded=not (first and service.public))
    if not divided:
        service.argv = serve_flags.argv(service, asked, chosen, "python", spec.engine.network.bind, cpu=cpu)
    if not asked.is_here:
        spec = replace(spec, profile="gpu")  # not a rehearsal's environment, and with the caches of models
    env = environment(stack, cpu=spec.profile == "cpu")
    given = [Path(asked.model), *asked.adapters, *map(Path, service.adapters.values())]
    start(spec, service, env, given, within, divided)

    def ended() -> str | None:
        service_containers.connect(service)
        return service_containers.ended(service)

    return _waited(service, ended, within)


def served() -> Outcome:
    """Every service on record, and whether it answers. One that died is a failure until it is stopped."""
    table = listing("name", "state", "url", "backend", "model", wraps="model")
    rows, failures = [], []
    for service in all_services():
        state = services.state(service, has_key=bool(os.environ.get(KEY)))
        rows.append({**service.model_dump(exclude={"argv"}), "url": service.url, "log": service.log, "state": state})
        place = f" on {', '.join(service.hosts)}" if service.hosts else ""
        model = ", ".join([service.model, *service.adapters])
        table.add_row(service.name, state, service.url, service.backend + place, model)
        if state == "dead":
            forget = f"./inv stop {service.name} forgets it"
            failures.append(Failure(f"{service.name} died, its log: {shown(service.log)}", forget))
        if state == "unreachable":
            look = f"./inv hosts --hosts {service.inventory}" if service.hosts else "docker info"
            failures.append(Failure(f"the engine of {service.name} does not answer", look))
    return Outcome(
        {"services": rows}, failures=failures, text=table if rows else "nothing is served: ./inv serve MODEL"
    )


def stop(name: str, *, every: bool) -> Outcome:
    """Stop one service, or all. Raises UsageError for an unknown one."""
    known = {service.name: service for service in all_services()}
    if not every and name not in known:
        raise UsageError(
            f"no service {name!r}" if name else "which service?",
            nearest(name, list(known)) if known else "./inv served",
        )
    ended = {each: services.end(known[each]) for each in (known if every else [name])}
    return Outcome({"stopped": ended}, text="\n".join(f"{each}: stopped" for each in ended) or "nothing was served")


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


def _waited(service: ServiceRecord, ended: Callable[[], str | None], within: int) -> str | None:
    """Wait for a real completion; why there is none, in a few words. Ctrl-C ends the service."""
    deadline = time.monotonic() + within
    try:
        with console.status(f"{service.name} is loaded ..."):
            while not ready.answers(service.url, service.name):
                if why := ended():
                    return why
                if time.monotonic() > deadline:
                    return f"did not answer within {within} s"
                time.sleep(0.5)
    except BaseException:
        services.end(service)
        raise
    return None
