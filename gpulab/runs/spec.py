"""What is to be run, every choice made: by `inv lab`, or as the record of an earlier run has it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.common import redact
from gpulab.engines import Engine, choose_engine
from gpulab.engines.slurm import SlurmEngine
from gpulab.hosts.compute_node import ComputeNode, find_compute_nodes
from gpulab.lab.lab import Lab, Needs, find_lab
from gpulab.plan.layout.step import Devices
from gpulab.plan.machine import Machine, this_machine
from gpulab.plan.plan import Plan, plan
from gpulab.records.record import git_state, now
from gpulab.stacks.stack import Stack, load_stack


@dataclass(frozen=True)
class Order:
    """A lab with its profile and why it is that one, where it runs, and what was set."""

    lab: Lab
    profile: str
    why: str
    stack: Stack
    engine: Engine
    compute_nodes: Sequence[ComputeNode]
    machines: Sequence[Machine]
    inventory: str
    nodes: int
    settings: Mapping[str, dict[str, str]]
    ports: Mapping[str, int]
    hub: str

    @classmethod
    def again(cls, data: Mapping[str, Any], why: str, limit: str = "") -> Order:
        """What a record says was run, on the same hosts or those of `limit`. Raises UsageError where that can't be."""
        lab, stack = find_lab(data["lab"]).only(data.get("only", [])), load_stack(data["stack"]["name"])
        compute_nodes = compute_nodes_for(
            lab.needs, data["engine"], data["inventory"], limit or ",".join(data["hosts"]), data["nodes"]
        )
        engine = choose_engine(
            data["engine"], stack, compute_nodes, data["inventory"], requeue=data.get("requeue", False)
        )
        return cls(
            lab=lab, profile=data["profile"], why=why, stack=stack, engine=engine, compute_nodes=compute_nodes,
            machines=machines_of(compute_nodes, data["engine"], data["nodes"]), inventory=data["inventory"],
            nodes=data["nodes"], settings=data["settings"], ports=data["ports"], hub=data["hub"],
        )  # fmt: skip

    def plan(self, run: Path, ports: Mapping[str, int] | None = None) -> Plan:
        """The plan of a run in that folder, on other ports where some are given."""
        return plan(
            self.lab, self.profile, self.stack, run, settings=self.settings, ports=ports or self.ports, hub=self.hub,
            network=self.engine.network, nodes=self.engine.nodes(self.nodes), rendezvous=self.engine.rendezvous(),
            devices=offered(self.machines) if self.profile == "gpu" else None,
        )  # fmt: skip

    def described(self) -> dict[str, Any]:
        """What a record says of it when the run begins."""
        lab, machines = self.lab, self.machines
        return {
            "lab": lab.name, "title": lab.title, "curriculum": lab.curriculum, "profile": self.profile,
            "why": self.why, "started": now(), "argv": ["inv", *redact.argv(sys.argv[1:])],
            "settings": self.settings, "hub": self.hub, "ports": self.ports, "nodes": self.nodes,
            "only": list(lab.steps),
            "engine": self.engine.name, "hosts": [compute_node.host.name for compute_node in self.compute_nodes],
            "inventory": self.inventory and str(Path(self.inventory).absolute()),
            "stack": {"name": self.stack.name, "lock": self.stack.key, **self.engine.described()},
            "git": git_state(), "machine": machines[0].as_dict(), "others": [m.as_dict() for m in machines[1:]],
            "environment": redact.recorded(os.environ), "steps": [], "metrics": {}, "failures": [],
        }  # fmt: skip


def compute_nodes_for(needs: Needs, engine: str, inventory: str, limit: str, nodes: int) -> list[ComputeNode]:
    """The hosts for so many nodes; none where the lab runs on this machine."""
    if not inventory:
        return []
    if engine == SlurmEngine.name:  # which nodes a job gets is Slurm's choice: one stands for all
        return find_compute_nodes(needs, inventory, limit or "gpu", 1)
    return find_compute_nodes(needs, inventory, limit, nodes)


def machines_of(compute_nodes: Sequence[ComputeNode], engine: str, nodes: int) -> list[Machine]:
    """The machines that a run's nodes are on."""
    return [n.machine for n in compute_nodes] * (nodes if engine == SlurmEngine.name else 1) or [this_machine()]


def offered(machines: Sequence[Machine]) -> Devices | None:
    """What every one of the machines has: as many GPUs as the one with fewest, the memory of the smallest."""
    if not all(machine.gpus for machine in machines):
        return None
    vram = min(gpu.vram_gib for machine in machines for gpu in machine.gpus)
    return Devices(min(len(machine.gpus) for machine in machines), vram)
