"""`inv plan`: who would run what on which GPU, how a model is laid out, and whether it fits. Starts nothing."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure
from gpulab.common.numbers import positive
from gpulab.common.outcome import Outcome
from gpulab.common.paths import runs_dir
from gpulab.hosts.compute_node import find_compute_nodes
from gpulab.hosts.inventory import load_hosts
from gpulab.inside.layout import Layout
from gpulab.lab.lab import Lab, find_lab
from gpulab.lab.settings import parse_settings
from gpulab.plan.layout.memory import Memory, megatron_memory, swift_memory
from gpulab.plan.layout.remedies import find_cure
from gpulab.plan.layout.shape import Shape
from gpulab.plan.layout.step import Devices, lay_out, step_shape
from gpulab.plan.layout.training import Training, read_training
from gpulab.plan.machine import this_machine
from gpulab.plan.plan import RENDEZVOUS, Command, Node, PlanSpec, Site, plan, with_all_flags
from gpulab.runs.request import node_count
from gpulab.runs.resolve import asked_ports
from gpulab.runs.spec import offered
from gpulab.stacks.stack import load_stack

MOST_GPUS, MOST_GIB = 1024, 4096  # of a node, of a GPU: more is a slip of the hand
SHOWN = 32  # ranks that are printed; --json has all
Settings = Mapping[str, str]


@dataclass(frozen=True)
class Cluster:
    """What is planned for: nodes with the GPUs of each, and where that is known from."""

    nodes: list[Node]
    devices: Devices
    known: str


@dataclass(frozen=True)
class Planned:
    """One step: its ranks as rows, how it is laid out if it is Megatron's, the memory of its fullest GPU if known."""

    step: str
    command: Command
    nodes: int
    ranks: list[dict[str, Any]]
    layout: Layout | None
    memory: Memory | None
    failure: Failure | None = None


def show_plan(
    name: str, *, hosts: str = "", limit: str = "", nodes: int = 0, gpus: int = 0, vram_gib: float = 0,
    settings: Sequence[str] = (),
) -> Outcome:  # fmt: skip
    """The plan of a lab on GPUs. Exit 1 where a step can't fit, with what would help.

    Raises UsageError for an impossible layout, and where hosts are asked and too few answer.
    """
    positive("--gpus", gpus, MOST_GPUS)
    positive("--vram-gib", vram_gib, MOST_GIB)
    lab = find_lab(name)
    count = node_count(lab, nodes)
    cluster = find_cluster(lab, count, hosts=hosts, limit=limit, gpus=gpus, vram_gib=vram_gib)
    by_step = parse_settings(settings, lab)
    ports = asked_ports(lab, by_step)  # which are free is found out when it runs
    spec = PlanSpec(lab=lab, profile="gpu", stack=load_stack(lab.stack), settings=by_step, ports=ports)
    visible = [range(cluster.devices.count) for _ in cluster.nodes]
    site = Site(nodes=cluster.nodes, devices=cluster.devices, visible=visible)
    made = plan(spec, runs_dir() / lab.slug / "plan", site)
    steps = [
        _planned(lab, step, list(made.ranks(step)), cluster, by_step.get(step, {})) for step in made.steps
    ]  # fmt: skip
    failures = [planned.failure for planned in steps if planned.failure]
    data, page = _as_data(lab, cluster, steps), _page(lab, cluster, steps)
    if made.left_out:
        data["left_out"] = dict(made.left_out)
        page = Group(page, *(Text(f"\n{step} is left out: {why}") for step, why in made.left_out.items()))
    return Outcome(data, failures, page)


def find_cluster(lab: Lab, count: int, *, hosts: str, limit: str, gpus: int, vram_gib: float) -> Cluster:
    """Whom to plan for. With `gpus` or `vram_gib` nobody is asked: the inventory gives names and addresses only."""
    needed = Devices(gpus or lab.needs.gpus or 1, vram_gib or lab.needs.vram_gib)
    if gpus or vram_gib:
        if not hosts:
            return Cluster([Node(f"node{n + 1}", "", "") for n in range(count)], needed, "as asked, no host is known")
        listed = load_hosts(hosts, limit, resolve=False)
        if len(listed) < count:
            raise UsageError(f"{count} nodes are asked for, {hosts} has {len(listed)}", "take fewer: --nodes N")
        return Cluster([Node(h.name, h.address, "") for h in listed[:count]], needed, f"{hosts}, no host was asked")
    if hosts:
        compute_nodes = find_compute_nodes(lab.needs, hosts, limit, count)
        found = offered([n.machine for n in compute_nodes])
        places = [compute_node.node for compute_node in compute_nodes]
        lacking = "" if found else "; they lack the GPUs that the lab needs, which are planned with"
        return Cluster(places, found or needed, f"{hosts}, asked now{lacking}")
    here = offered([this_machine()])
    places = [Node("this machine" if count == 1 else f"node{n + 1}", "", "") for n in range(count)]
    return Cluster(places, here or needed, "this machine" if here else "no GPU here: planned with what the lab needs")


def _planned(lab: Lab, step: str, commands: list[Command], cluster: Cluster, settings: Settings) -> Planned:
    first = commands[0]
    local = first.world // len(commands)
    argv = with_all_flags(lab, step, lab.steps[step], cpu=False, settings=settings)
    training = read_training(argv, lab.folder)
    layout = None
    if training.megatron:
        layout = lay_out(lab, step, argv, len(commands), Devices(local, cluster.devices.vram_gib))
    memory = failure = None
    visible = _visible(first, cluster.devices.count)
    shape = _shape(lab, argv) if training.command else None
    if shape:
        devices = replace(cluster.devices, count=len(visible))
        estimate = functools.partial(_estimate, lab, step, settings, local, devices, shape)
        memory = estimate({}, len(commands))
        vram = cluster.devices.vram_gib
        if memory and memory.total > vram > 0:
            spreads = lab.steps[step].spread
            cure = find_cure(step, shape, training, devices, len(commands), estimate, spreads=spreads)
            failure = Failure(f"does not fit: about {memory.total:.0f} GiB on a GPU of {vram:g}", cure, f"step {step}")
    ranks = _ranks(commands, cluster.nodes[0].name, visible, local, layout, training)
    return Planned(step, first, len(commands), ranks, layout, memory, failure)


def _shape(lab: Lab, argv: Sequence[str]) -> Shape | None:
    try:
        return step_shape(lab, argv)
    except UsageError:  # without a layout to choose it is no mistake, only nothing to estimate from
        return None


def _estimate(
    lab: Lab, step: str, settings: Settings, local: int, devices: Devices, shape: Shape, change: Settings, nodes: int
) -> Memory | None:
    """The step's memory with other flags or on other nodes; None where that can't be, or can't be said."""
    argv = with_all_flags(lab, step, lab.steps[step], cpu=False, settings={**settings, **change})
    training = read_training(argv, lab.folder)
    if training.command == "rlhf" and not training.trains:  # a teacher, a reward model or an engine beside it
        return None
    if not training.megatron:
        return swift_memory(shape, training, nodes * local, local, devices.count)
    if not training.trains and training.command != "export":
        return None
    try:
        return megatron_memory(shape, training, lay_out(lab, step, argv, nodes, Devices(local, devices.vram_gib)))
    except UsageError:
        return None


def _visible(command: Command, count: int) -> list[int]:
    """The node's GPUs that a command may use."""
    named = command.env.get("CUDA_VISIBLE_DEVICES", "")
    return [int(word) for word in named.split(",") if word.strip().isdigit()] or list(range(count))


def _ranks(
    commands: list[Command], alone: str, visible: list[int], local: int, layout: Layout | None, training: Training
) -> list[dict[str, Any]]:
    """A row for each process. Without DeepSpeed's and FSDP's sharding transformers spreads it over its share of the
    node's GPUs, an inference engine over as many as its own flag says."""
    several = training.command and not (training.megatron or training.zero)
    rows = []
    for node, command in enumerate(commands):
        name = command.node or alone
        for rank in range(local):
            devices = visible[rank::local] if several else visible[rank : rank + 1]
            if training.serving_ways:
                devices = visible[: training.serving_ways]
            row: dict[str, Any] = {"rank": node * local + rank, "node": name, "local_rank": rank, "devices": devices}
            rows.append(row | (layout.coordinates(row["rank"]) if layout else {}))
    return rows


def _as_data(lab: Lab, cluster: Cluster, steps: list[Planned]) -> dict[str, Any]:
    """For --json."""
    return {
        "lab": lab.name, "model": lab.model, "known_from": cluster.known,
        "gpus_per_node": cluster.devices.count, "vram_gib": cluster.devices.vram_gib,
        "steps": [
            {
                "step": s.step, "argv": list(s.command.argv), "nodes": s.nodes, "rendezvous": _rendezvous(s, cluster),
                "layout": _layout_data(s.layout), "memory_gib": s.memory.as_dict() if s.memory else None,
                "fits": not s.failure if s.memory else None, "ranks": s.ranks,
            }
            for s in steps
        ],
    }  # fmt: skip


def _layout_data(layout: Layout | None) -> dict[str, Any] | None:
    if layout is None:
        return None
    sizes = {axis: getattr(layout, axis) for axis in ("tensor", "pipeline", "context", "expert", "expert_tensor")}
    return {**sizes, "data": layout.data, "expert_data": layout.expert_data, "reasons": list(layout.reasons)}


def _rendezvous(step: Planned, cluster: Cluster) -> dict[str, Any] | None:
    """Where a spread step's nodes meet, as far as it is known; None for a step on one node."""
    master = cluster.nodes[0]
    if step.command.rank is None or not master.address:
        return None
    return {"address": master.address, "port": int(RENDEZVOUS), "interface": master.interface or None}


def _page(lab: Lab, cluster: Cluster, steps: list[Planned]) -> Group:
    """For people."""
    devices = cluster.devices
    gpus = f"{devices.count} GPU{'s' * (devices.count > 1)} of {devices.vram_gib:g} GiB"
    parts: list[Any] = [
        Text.assemble((lab.name, "bold"), f" {lab.title}"),
        Text(f"{len(cluster.nodes)} node{'s' * (len(cluster.nodes) > 1)} with {gpus} each ({cluster.known})"),
    ]
    for step in steps:
        parts += ["", Text.assemble((step.step, "bold"), " ", " ".join(step.command.argv[:2]))]
        parts += _step_lines(step, cluster)
    return Group(*parts)


def _step_lines(step: Planned, cluster: Cluster) -> list[Any]:
    lines: list[Any] = [_rank_table(step.ranks)] if step.memory or step.layout or len(step.ranks) > 1 else []
    if meets := _rendezvous(step, cluster):
        over = f" over {meets['interface']}" if meets["interface"] else ""
        lines.append(Text(f"meet at {meets['address']}:{meets['port']}{over}"))
    lines += [Text(reason) for reason in step.layout.reasons] if step.layout else []
    if step.memory:
        kinds = [f"{name} {value:g}" for name, value in step.memory.as_dict().items() if value and name != "total"]
        verdict = ("does not fit", "red") if step.failure else ("fits", "green")
        text = (
            f"memory of a GPU: about {step.memory.total:.1f} of {cluster.devices.vram_gib:g} GiB ({', '.join(kinds)}) "
        )
        lines.append(Text.assemble(text, verdict if cluster.devices.vram_gib else ""))
    elif step.command.argv[0] in ("swift", "megatron"):
        lines.append(Text("memory: no estimate for this command or model", style="dim"))
    return lines


def _rank_table(ranks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ranks[0]:
        table.add_column(column.replace("_", " "), justify="left" if column == "node" else "right")
    head, tail = (ranks[: SHOWN - 8], ranks[-8:]) if len(ranks) > SHOWN else (ranks, [])
    for row in head:
        table.add_row(*_cells(row))
    if tail:
        table.add_row("...", f"{len(ranks) - SHOWN} more")
        for row in tail:
            table.add_row(*_cells(row))
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [",".join(map(str, value)) if isinstance(value, list) else str(value) for value in row.values()]
