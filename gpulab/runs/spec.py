"""What is to be run, every choice made: by `inv lab`, or as the record of an earlier run has it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpulab.common import redact
from gpulab.common.git import git_state
from gpulab.common.profile import Profile
from gpulab.engines import Backend, choose_engine
from gpulab.engines.slurm import SlurmBackend
from gpulab.hosts.compute_node import ComputeNode, find_compute_nodes
from gpulab.images.image import Image
from gpulab.lab.lab import Lab, find_lab
from gpulab.lab.written import Needs
from gpulab.plan.layout.step import Devices
from gpulab.plan.machine import Machine, this_machine
from gpulab.plan.make import plan
from gpulab.plan.plan import Plan, PlanSpec, Site
from gpulab.records.record import RunRecord, now
from gpulab.stacks.stack import Stack, load_stack


@dataclass(frozen=True, kw_only=True)
class RunSpec(PlanSpec):
    """What is to be run: a lab with its profile and why it is that one, where it runs, and what was set."""

    why: str
    engine: Backend
    compute_nodes: Sequence[ComputeNode]
    machines: Sequence[Machine]
    inventory: str
    nodes: int
    keep_serving: bool = False

    @classmethod
    def again(cls, record: RunRecord, why: str, limit: str = "") -> RunSpec:
        """What a record says was run, on the same hosts or those of `limit`. Raises UsageError where that can't be."""
        lab, stack = find_lab(record.lab).only(record.only), load_stack(record.stack["name"])
        lab = lab.of_model(record.model) if record.model else lab
        stacks = stacks_of(lab, record.profile, stack)
        compute_nodes = compute_nodes_for(
            [lab.needs], record.engine, record.inventory, limit or ",".join(record.hosts), record.nodes, [stack.name]
        )
        engine = choose_engine(
            record.engine, stack, compute_nodes, record.inventory, others=stacks.values(), requeue=record.requeue
        )
        return cls(
            lab=lab, profile=record.profile, why=why, stack=stack, stacks=stacks, engine=engine,
            compute_nodes=compute_nodes,
            machines=machines_of(compute_nodes, record.engine, record.nodes), inventory=record.inventory,
            nodes=record.nodes, settings=record.settings, ports=record.ports, hub=record.hub,
            keep_serving=record.keep_serving,
        )  # fmt: skip

    def plan(self, run: Path, ports: Mapping[str, int] | None = None) -> Plan:
        """The plan of a run in that folder, on other ports where some are given."""
        site = Site(
            self.engine.network, self.engine.nodes(self.nodes), self.engine.rendezvous(),
            offered(self.machines) if self.profile == "gpu" else None, self.visible(),
        )  # fmt: skip
        return plan(replace(self, ports=ports or self.ports), run, site)

    def visible(self) -> list[list[int]]:
        """Each node's GPUs in the order in which a step takes them. A job's are Slurm's to choose."""
        if self.profile != "gpu" or self.engine.name == SlurmBackend.name:
            return []
        mine = "" if self.compute_nodes else os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return [machine.in_order(self.lab.needs, mine) for machine in self.machines]

    def record(self, run: str) -> RunRecord:
        """The record of a run when it begins."""
        lab, machines = self.lab, self.machines
        return RunRecord(
            run=run, lab=lab.name, title=lab.title, curriculum=lab.curriculum, profile=self.profile,
            model=(self.profile == "gpu" and lab.model) or "", why=self.why, started=now(),
            argv=["inv", *redact.argv(sys.argv[1:])],
            settings={step: dict(flags) for step, flags in self.settings.items()}, hub=self.hub,
            ports=dict(self.ports), nodes=self.nodes, only=list(lab.steps), keep_serving=self.keep_serving,
            engine=self.engine.name, hosts=[compute_node.host.name for compute_node in self.compute_nodes],
            inventory=self.inventory and str(Path(self.inventory).absolute()),
            stack={"name": self.stack.name, "lock": self.stack.key, **self.engine.described()},
            git=git_state(), machine=machines[0].as_dict(), others=[m.as_dict() for m in machines[1:]],
            environment=redact.recorded(os.environ),
        )  # fmt: skip


def stacks_of(lab: Lab, profile: Profile, stack: Stack) -> dict[str, Stack]:
    """The stacks of those steps that have another than the run's: on GPUs all have one."""
    own = {name: lab.rehearse.of(name).stack for name in lab.steps} if profile == "cpu" else {}
    loaded = {name: load_stack(name) for name in own.values() if name and name != stack.name}
    return {step: loaded[name] for step, name in own.items() if name in loaded}


def compute_nodes_for(
    needs: Sequence[Needs], engine: str, inventory: str, limit: str, nodes: int, stacks: Sequence[str]
) -> list[ComputeNode]:
    """The hosts for so many nodes, those that meet the first of `needs` that enough of them meet, and what they say of
    the images of the stacks that may be used; none where the lab runs on this machine."""
    if not inventory:
        return []
    images = [Image(stack).tag for stack in map(load_stack, dict.fromkeys(stacks)) if stack.lock.exists()]
    most, *less = needs
    if engine == SlurmBackend.name:  # which nodes a job gets is Slurm's choice: one stands for all
        return find_compute_nodes(most, inventory, limit or "gpu", 1, images, less)
    return find_compute_nodes(most, inventory, limit, nodes, images, less)


def machines_of(compute_nodes: Sequence[ComputeNode], engine: str, nodes: int) -> list[Machine]:
    """The machines that a run's nodes are on."""
    return [n.machine for n in compute_nodes] * (nodes if engine == SlurmBackend.name else 1) or [this_machine()]


def offered(machines: Sequence[Machine]) -> Devices | None:
    """What every one of the machines has: as many GPUs as the one with fewest, the memory of the smallest."""
    if not all(machine.gpus for machine in machines):
        return None
    vram = min(gpu.vram_gib for machine in machines for gpu in machine.gpus)
    return Devices(min(len(machine.gpus) for machine in machines), vram)
