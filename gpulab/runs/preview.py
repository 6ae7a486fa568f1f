"""`inv plan`: who would run what on which GPU, how a model is laid out, and whether it fits. Starts nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.numbers import positive
from gpulab.common.outcome import Outcome
from gpulab.common.paths import runs_dir
from gpulab.hosts.compute_node import find_compute_nodes
from gpulab.hosts.inventory import load_hosts
from gpulab.lab.lab import Lab, find_lab
from gpulab.lab.settings import parse_settings
from gpulab.plan.layout.step import Devices
from gpulab.plan.machine import this_machine
from gpulab.plan.make import plan
from gpulab.plan.plan import Node, PlanSpec, Site
from gpulab.runs.plan_page import plan_data, plan_page
from gpulab.runs.planned_step import Cluster, plan_step
from gpulab.runs.request import node_count
from gpulab.runs.resolve import asked_ports
from gpulab.runs.spec import offered
from gpulab.stacks.stack import load_stack

MOST_GPUS, MOST_GIB = 1024, 4096  # of a node, of a GPU: more is a slip of the hand


def show_plan(
    name: str, *, hosts: str = "", limit: str = "", nodes: int = 0, gpus: int = 0, vram_gib: float = 0, model: str = "",
    settings: Sequence[str] = (),
) -> Outcome:  # fmt: skip
    """The plan of a lab on GPUs. Exit 1 where a step can't fit, with what would help.

    Raises UsageError for an impossible layout, and where hosts are asked and too few answer.
    """
    positive("--gpus", gpus, MOST_GPUS)
    positive("--vram-gib", vram_gib, MOST_GIB)
    lab = find_lab(name)
    lab = lab.of_model(model) if model else lab
    count = node_count(lab, nodes)
    cluster = find_cluster(lab, count, hosts=hosts, limit=limit, gpus=gpus, vram_gib=vram_gib)
    written, lab = lab.model, largest_for(lab, cluster.devices)
    by_step = parse_settings(settings, lab)
    ports = asked_ports(lab, by_step)  # which are free is found out when it runs
    spec = PlanSpec(lab=lab, profile="gpu", stack=load_stack(lab.stack), settings=by_step, ports=ports)
    visible = [range(cluster.devices.count) for _ in cluster.nodes]
    site = Site(nodes=cluster.nodes, devices=cluster.devices, visible=visible)
    made = plan(spec, runs_dir() / lab.slug / "plan", site)
    steps = [
        plan_step(lab, step, list(made.ranks(step)), cluster, by_step.get(step, {})) for step in made.steps
    ]  # fmt: skip
    failures = [planned.failure for planned in steps if planned.failure]
    data, page = plan_data(lab, cluster, steps), plan_page(lab, cluster, steps)
    if lab.model != written:
        fits = f"with {lab.model}, the largest of the lab's models that fits; as written it is {written}"
        page = Group(Text(fits), page)
    if made.left_out:
        data["left_out"] = dict(made.left_out)
        page = Group(page, *(Text(f"\n{step} is left out: {why}") for step, why in made.left_out.items()))
    return Outcome(data, failures, page)


def largest_for(lab: Lab, devices: Devices) -> Lab:
    """The lab with the largest of its models for which such GPUs suffice; as written where none does."""
    fitting = (s for s in lab.sizes if s.needs.vram_gib <= devices.vram_gib and s.needs.gpus <= devices.count)
    return next(fitting, lab)


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
        needs, *less = (size.needs for size in lab.sizes)
        compute_nodes = find_compute_nodes(needs, hosts, limit, count, less=less)
        found = offered([n.machine for n in compute_nodes])
        places = [compute_node.node for compute_node in compute_nodes]
        lacking = "" if found else "; they lack the GPUs that the lab needs, which are planned with"
        return Cluster(places, found or needed, f"{hosts}, asked now{lacking}")
    here = offered([this_machine()])
    places = [Node("this machine" if count == 1 else f"node{n + 1}", "", "") for n in range(count)]
    return Cluster(places, here or needed, "this machine" if here else "no GPU here: planned with what the lab needs")
