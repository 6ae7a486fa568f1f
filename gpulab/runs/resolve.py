"""LabRequest -> RunSpec: every choice that is left open is made here. Starts nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpulab.common.errors import UsageError
from gpulab.common.numbers import whole
from gpulab.common.ports import FIRST, free_port
from gpulab.common.profile import Profile
from gpulab.engines import choose_engine
from gpulab.lab.lab import Lab
from gpulab.lab.settings import parse_settings
from gpulab.plan.machine import Machine
from gpulab.runs.request import LabRequest, node_count
from gpulab.runs.spec import RunSpec, compute_nodes_for, machines_of, stacks_of
from gpulab.stacks.stack import load_stack

AS_WRITTEN: tuple[Profile, str] = ("gpu", "as written")


def resolve(request: LabRequest, *, to_show: bool = False) -> RunSpec:
    """What is to be run. Raises UsageError where that can't be; `to_show`: it may be a lab that can't be run here."""
    lab = request.lab()
    nodes = node_count(lab, request.nodes)
    either = [lab.stack, lab.rehearse.stack]
    needs = [size.needs for size in lab.sizes]
    compute_nodes = compute_nodes_for(needs, request.engine, request.hosts, request.limit, nodes, either)
    machines = machines_of(compute_nodes, request.engine, nodes)
    if to_show and (request.model or lab.rehearse.impossible) and not request.rehearse:
        profile, why = AS_WRITTEN  # there is nothing else to show
    else:
        lab, profile, why = choose_profile(lab, machines, nodes, rehearse=request.rehearse, asked=request.model)
    stack = load_stack(lab.rehearse.stack if profile == "cpu" else lab.stack)
    stacks = stacks_of(lab, profile, stack)
    engine = choose_engine(
        request.engine, stack, compute_nodes, request.hosts, others=stacks.values(), requeue=request.requeue
    )
    settings = parse_settings(request.settings, lab)
    return RunSpec(
        lab=lab, profile=profile, why=why, stack=stack, stacks=stacks, engine=engine, compute_nodes=compute_nodes,
        machines=machines, inventory=request.hosts, nodes=nodes, settings=settings, ports=choose_ports(lab, settings),
        hub=request.hub, keep_serving=request.keep_serving, traced=request.traced,
    )  # fmt: skip


def choose_profile(
    lab: Lab, machines: Sequence[Machine], nodes: int = 1, *, rehearse: bool, asked: str = ""
) -> tuple[Lab, Profile, str]:
    """(the lab with the largest of its models that fits, `gpu` or `cpu`, why in a line). `asked`: the model that was
    asked for, which the lab has already. Raises UsageError when the lab can't run here at all."""
    sizes = lab.sizes
    fitted = next((size for size in sizes if not lacking(size, machines, nodes)), sizes[-1])
    lacks = lacking(fitted, machines, nodes)
    if lacks and fitted.model != lab.model:
        lacks += f" (for {fitted.model}, its smallest model)"
    if not lacks and not rehearse:
        gpus = ", ".join(sorted({g.name for machine in machines for g in machine.gpus})) or "no GPU needed"
        how = "as asked" if asked else "as written"
        if fitted.model != lab.model:
            how = f"the largest of its models that fits; as written {lab.model} with {lab.needs.vram_gib:g} GiB"
        return fitted, "gpu", f"running {fitted.model or 'it'} {how} ({gpus})"
    if asked:
        raise UsageError(f"{lab.name} can't run with {asked}: {lacks}", "a rehearsal takes a twin: leave --model out")
    if lab.rehearse.impossible:
        raise UsageError(
            f"{lab.name} can't be rehearsed on a CPU: {lab.rehearse.impossible}", lacks or "run it without --rehearse"
        )
    of = f" with a tiny twin of {lab.model}" if lab.rehearse.twin else ""
    return lab, "cpu", f"{lacks or 'as asked'}: rehearsing on the CPU{of}"


def lacking(lab: Lab, machines: Sequence[Machine], nodes: int = 1) -> str | None:
    """Why the machines can't run a lab on their GPUs, in a few words; None when they can."""
    lacks = next(filter(None, (machine.lacks(lab.needs) for machine in machines)), None)
    if not lacks and len(machines) < nodes:
        return f"{len(machines)} machine here, the lab needs {nodes} (--hosts gpus.ini)"
    return lacks


def asked_ports(lab: Lab, settings: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """The port that each server step is to have: the one set, else one after the other."""
    ports: dict[str, int] = {}
    for name in (n for n, s in lab.steps.items() if s.ready):
        word = settings.get(name, {}).get("port")
        port = FIRST + len(ports) if word is None else whole(word)
        if port is None or not 0 < port < 65536:
            raise UsageError(f"--set {name}.port={word}: not a port", "a number from 1 to 65535")
        ports[name] = port
    return ports


def choose_ports(lab: Lab, settings: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """A free port for each server step, the one that it is to have first."""
    ports: dict[str, int] = {}
    for name, asked in asked_ports(lab, settings).items():
        ports[name] = free_port(asked, taken=ports.values())
    return ports
