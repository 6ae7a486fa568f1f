"""A service of containers: of one server, or of several with nginx in front, here or on hosts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.paths import runs_dir
from gpulab.common.ports import FIRST, can_listen, free_port
from gpulab.common.service_images import service_image, services
from gpulab.engines import service_containers
from gpulab.engines.backend import StepBackend
from gpulab.engines.docker import DockerBackend
from gpulab.engines.remote import RemoteBackend
from gpulab.hosts.compute_node import ComputeNode
from gpulab.plan import service_file, vllm_nodes
from gpulab.plan.plan import RENDEZVOUS, Command, Plan
from gpulab.plan.service_file import Front, Server
from gpulab.records.read import read
from gpulab.records.service import ServiceRecord, all_services
from gpulab.runs.shell import Workplace
from gpulab.runs.spec import RunSpec

TRIES = 50  # ports that are looked at
FRONT = "nginx"  # of docker/stacks.yml; GPULAB_IMAGE_NGINX names another


@dataclass(frozen=True, kw_only=True)
class Served(Workplace):
    """What is served, as a lab: the folders that its servers read are brought to hosts as a lab's own are."""

    folders: Mapping[str, Path] = field(default_factory=dict)

    @property
    def reads(self) -> dict[str, Path]:
        """See Lab."""
        return dict(self.folders)


@dataclass(frozen=True)
class Folders:
    """The folders of models and adapters: those that are brought along, those of runs that a host has."""

    brought: dict[str, Path]
    there: dict[Path, Path]


def folders_of(given: Sequence[Path], node: ComputeNode | None) -> Folders:
    """Of a run on hosts everything is there, also what was too big to come back."""
    brought: dict[str, Path] = {}
    there: dict[Path, Path] = {}
    for folder in dict.fromkeys(given):
        run = run_of(folder)
        if node and run and read(run).hosts:
            there[run] = node.shared / "runs" / run.parent.name / run.name
        elif folder.is_dir():
            brought[f"models/{len(brought)}-{folder.name}"] = folder
    return Folders(brought, there)


def run_of(folder: Path) -> Path | None:
    """The run that a folder belongs to."""
    parts = folder.relative_to(runs_dir()).parts if folder.is_relative_to(runs_dir()) else ()
    run = runs_dir().joinpath(*parts[:2])
    return run if (run / "run.json").is_file() else None


def start(
    spec: RunSpec, service: ServiceRecord, env: Mapping[str, str], given: Sequence[Path], within: int,
    divided: vllm_nodes.Model | None = None,
) -> None:  # fmt: skip
    """Put it on record and bring it up; `divided`: over the GPUs of all its hosts, by vLLM. Raises UsageError where it
    can't be; what was begun of it is ended."""
    engine = spec.engine
    assert isinstance(engine, (DockerBackend, RemoteBackend))  # noqa: S101 (see where it is chosen)
    first = spec.compute_nodes[0] if spec.compute_nodes else None
    found = folders_of(given, first)
    whole = {one.name: getattr(spec.lab, one.name) for one in fields(Workplace)}
    spec = replace(spec, lab=Served(**whole, folders=found.brought))
    engine.prepare()
    plan = _plan(spec, service, env, divided)
    service.write()
    try:
        engine.lay_ground(plan)
        service.files = str(engine.files.folder(plan.run)) if isinstance(engine, RemoteBackend) else ""
        service.write()
        _bring_up(spec, engine, service, plan, found, within)
    except BaseException:
        service_containers.give_up(service)
        with suppress(UsageError):  # its host can't be asked any more
            engine.discard(plan)
        raise


def _plan(spec: RunSpec, service: ServiceRecord, env: Mapping[str, str], divided: vllm_nodes.Model | None) -> Plan:
    """A command for each server: on hosts one on each, here side by side, each on a port and on GPUs of its own."""
    plan = spec.plan(service.folder)
    step = replace(plan.command("shell"), argv=tuple(service.argv), cwd=service.folder, env=env)
    if divided:
        return replace(plan, commands=tuple(_nodes(spec, service, step, divided)))
    if service.replicas == 1:
        return replace(plan, commands=(_on(spec, step, service.port, "", 0, 1),))
    ports = _ports(spec, service)
    nodes = [node.host.name for node in spec.compute_nodes] or [""] * service.replicas
    here = 1 if spec.compute_nodes else service.replicas
    return replace(
        plan,
        commands=tuple(
            _on(spec, replace(step, step=f"server-{n + 1}"), ports[n], node, n if here > 1 else 0, here)
            for n, node in enumerate(nodes)
        ),
    )


def _nodes(spec: RunSpec, service: ServiceRecord, step: Command, model: vllm_nodes.Model) -> Iterator[Command]:
    nodes = [node.node for node in spec.compute_nodes]
    for rank, node in enumerate(nodes):
        argv = vllm_nodes.command(model, nodes, rank, spec.lab.needs.gpus, service.port, service.listens, RENDEZVOUS)
        env = {**step.env, **vllm_nodes.environment(node)}
        port = None if rank else service.port
        made = replace(step, step="node", argv=tuple(argv), rank=rank, node=node.name, port=port, env=env)
        yield _seeing(made, next(iter(spec.visible()), [])[: spec.lab.needs.gpus])


def _on(spec: RunSpec, command: Command, port: int, node: str, number: int, parts: int) -> Command:
    words = list(command.argv)
    words[words.index("--port") + 1] = str(port)
    visible = next(iter(spec.visible()), [])[: spec.lab.needs.gpus]
    share = len(visible) // parts
    made = replace(command, argv=tuple(words), port=port, node=node)
    return _seeing(made, visible[number * share : (number + 1) * share])


def _seeing(command: Command, gpus: Sequence[int]) -> Command:
    if not gpus:
        return command
    own = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus)), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return replace(command, env={**command.env, **own})


def _bring_up(
    spec: RunSpec, engine: DockerBackend | RemoteBackend, service: ServiceRecord, plan: Plan, found: Folders,
    within: int,
) -> None:  # fmt: skip
    nodes = {node.host.name: node for node in spec.compute_nodes}
    first = next(iter(nodes), "")
    servers = []
    for command in plan.commands:
        place = engine.containers.place(plan, command)
        place = replace(place, read={**place.read, **found.there})
        address = "127.0.0.1"
        if service.replicas == 1 and service.public:
            address = service.listens
        elif command.node != first and command.node:
            address = nodes[command.node].address
        servers.append(Server("server" if len(plan.commands) == 1 else command.name, command, place, address))
    service.image, service.user = servers[0].place.image, servers[0].place.user
    service.write()
    front = None
    if service.replicas > 1:
        image = front_image(service_containers.dockers(service)[first])
        front = Front(image, f"{service.listens}:{service.port}", [server.at for server in servers])
    files: dict[str, Any] = {}
    for host in nodes or [""]:
        own = [server for server in servers if server.command.node in ("", host)]
        in_front = front if host == first else None
        files[host] = service_file.compose(plan, service.project, service.name, own, within, in_front)
    service_containers.up(service, files)
    service_containers.connect(service)


def front_image(docker: Docker) -> str:
    """nginx's image on an engine: the one of GPULAB_IMAGE_NGINX, as compose/.env calls it, else that of
    docker/stacks.yml by the digest that is kept."""
    return os.environ.get("GPULAB_IMAGE_NGINX") or service_image(services()[FRONT], docker)


def port_of(spec: RunSpec, asked: int, *, forwarded: bool) -> int:
    """A port that is free where it is served, and here where it is `forwarded`. Raises UsageError where the one asked
    for is not."""
    if asked and not _free(spec, asked, forwarded=forwarded):
        raise UsageError(f"port {asked} is taken{'' if forwarded else f' on {spec.machines[0].hostname}'}", "another")
    return asked or next(iter(_free_ports(spec, 1, forwarded=forwarded, after=FIRST - 1)))


def _ports(spec: RunSpec, service: ServiceRecord) -> list[int]:
    """A port for each server behind nginx; on hosts each has the same."""
    count = 1 if spec.compute_nodes else service.replicas
    found = _free_ports(spec, count, forwarded=not spec.compute_nodes, after=service.port)
    return found * (service.replicas // count)


def _free_ports(spec: RunSpec, count: int, *, forwarded: bool, after: int) -> list[int]:
    found: list[int] = []
    taken = {service.port for service in all_services()}
    for _ in range(TRIES):
        port = free_port(after + 1, taken)
        taken.add(port)
        if _free(spec, port, forwarded=forwarded):
            found.append(port)
        if len(found) == count:
            return found
    raise UsageError(f"of {TRIES} ports after {after} too few are free there", "--port N")


def _free(spec: RunSpec, port: int, *, forwarded: bool) -> bool:
    assert isinstance(spec.engine, StepBackend)  # noqa: S101 (see where it is chosen)
    return (not forwarded or can_listen(port)) and (not spec.compute_nodes or spec.engine.is_free(port))
