"""What a host offers a lab: its hardware, the shared folder, and as whom containers write there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.common.yamlfile import load
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.shipped import program
from gpulab.hosts.show import hardware
from gpulab.hosts.ssh import Answer, ask
from gpulab.lab.written import Needs
from gpulab.plan.machine import Gpu, Machine
from gpulab.plan.plan import Node

STORAGE = ROOT / "ansible" / "roles" / "lab_storage" / "defaults" / "main.yml"
ENVIRONMENT = "/etc/gpu-lab.env"  # what the role lab_storage tells programs
SKEW = 30.0  # seconds by which the clocks of a run's hosts may differ: no less can be told over a busy ssh
PARTS = ["system", "memory", "gpus"]  # of what a machine is


@dataclass(frozen=True)
class EngineFacts:
    """What `docker info` says, and what the engine knows of those images that were asked for and are there. Empty where
    it was not asked, or did not answer: who needs it asks the engine itself, which says why."""

    info: dict[str, Any] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ComputeNode:
    """A host as a lab sees it: facts for the record, `uid:gid` of containers, the shared folder, what programs are
    told, free disk in GiB, the size of /dev/shm in MiB, the interface for traffic between nodes and its address,
    whether there is RDMA, by how many seconds its clock is ahead of this machine's, why there is no interface, what its
    nccl.conf sets beside it, and of its engine and images what it told with all that (`told`)."""

    host: Host
    machine: Machine
    user: str
    shared: Path
    environment: dict[str, str]
    free_gib: float
    shm_mib: int
    interface: str
    address: str
    rdma: bool
    ahead: float
    no_interface: str = ""
    nccl: dict[str, str] = field(default_factory=dict)
    told: EngineFacts = field(default_factory=EngineFacts)

    @property
    def node(self) -> Node:
        """The host as a node of a spread step."""
        return Node(self.host.name, self.address, self.interface, nccl=self.nccl)


def shared_folder(host: Host) -> Path:
    """The shared folder: the inventory's, else the role's own default."""
    return Path(str(host.variables.get("lab_storage_path") or load(STORAGE)["lab_storage_path"]))


def find_compute_nodes(
    needs: Needs, inventory: str, limit: str, count: int, images: Sequence[str] = (), less: Sequence[Needs] = ()
) -> list[ComputeNode]:
    """The first `count` hosts of the inventory that can be reached and have the GPUs that are needed, in its order;
    where there are not so many, those that do with the first of `less` that so many do with; else the first that can
    be reached, for a rehearsal there. They are asked for `images`, too.

    Raises UsageError where too few can be reached, their clocks differ, or several have no way to meet.
    """
    hosts = load_hosts(inventory, limit)
    if len(hosts) < count:
        raise UsageError(f"{count} nodes are asked for, {inventory} has {len(hosts)}", "take fewer: --nodes N")
    fit: list[ComputeNode] = []
    reached: list[ComputeNode] = []
    trouble = UsageError(f"no host in {inventory} can be reached", f"./inv hosts --hosts {inventory}")
    left, few = list(hosts), max(count, 4)
    while left and len(fit) < count:  # a few at first: of a thousand hosts two are enough, unless most are off
        asked, left, few = left[:few], left[few:], few * 2
        for compute_node in ask_compute_nodes(asked, inventory, images):
            if isinstance(compute_node, UsageError):
                console.print(f"[yellow]passed over[/] {escape(compute_node.message)}")
                trouble = compute_node
                continue
            reached.append(compute_node)
            if not compute_node.machine.lacks(needs):
                fit.append(compute_node)
    if len(reached) < count:
        raise trouble
    with_less = ([node for node in reached if not node.machine.lacks(fewer)] for fewer in less)
    chosen = next((enough for enough in (fit, *with_less) if len(enough) >= count), reached)[:count]
    refuse_skew(chosen)
    if count > 1:
        refuse_no_fabric(chosen)
    return chosen


def refuse_no_fabric(compute_nodes: list[ComputeNode]) -> None:
    """Raise UsageError for a node that has no interface to meet the others over: another network than the one that was
    chosen would be taken unseen."""
    for node in compute_nodes:
        if node.no_interface:
            raise UsageError(
                f"{node.host.name}: {node.no_interface}",
                f"bring it up there, or set fabric_interface: ./inv provision --tags fabric --limit {node.host.name}",
            )


def refuse_skew(compute_nodes: list[ComputeNode]) -> None:
    """Raise UsageError where clocks differ: time-outs of the rendezvous and the order of logs then mislead."""
    early, late = (pick(compute_nodes, key=lambda s: s.ahead) for pick in (min, max))
    if late.ahead - early.ahead > SKEW:
        raise UsageError(
            f"the clocks of {early.host.name} and {late.host.name} differ by {late.ahead - early.ahead:.0f} s",
            "./inv provision --tags base sets them right (chrony)",
        )


def ask_compute_nodes(hosts: list[Host], inventory: str, images: Sequence[str] = ()) -> list[ComputeNode | UsageError]:
    """The hosts' compute_nodes, all asked at once, each once; where a host has none, why, and the cure."""

    def argv(host: Host) -> list[str]:
        node = [str(shared_folder(host) / "runs"), ENVIRONMENT, host.address]
        asked = {"parts": PARTS, "places": hardware(host), "node": node, "images": list(images)}
        return ["python3", "-", json.dumps(asked)]

    look = program("host_facts")
    began = time.time()
    answers = ask(hosts, argv, stdin=look, inventory=inventory, login="first")
    middle = (began + time.time()) / 2
    return [_compute_node(host, answers[host.name], middle, inventory) for host in hosts]


def _compute_node(host: Host, answer: Answer, asked: float, inventory: str) -> ComputeNode | UsageError:
    if answer.problem:
        return UsageError(f"{host.name}: {answer.problem}", answer.cure)
    told = json.loads(answer.stdout)
    found, shared = told["node"], shared_folder(host)
    if found["gid"] is None:
        return UsageError(f"{host.name} has no {shared}/runs", f"./inv provision --hosts {inventory}")
    return ComputeNode(
        host=host,
        machine=_machine(host, told["machine"]),
        user=f"{found['uid']}:{found['gid']}",
        shared=shared,
        environment=dict(re.findall(r"^(\w+)=(.*)$", found["told"], re.MULTILINE)),
        free_gib=found["free_gib"],
        shm_mib=found["shm_mib"],
        interface=found["interface"],
        address=found["address"],
        rdma=found["rdma"],
        ahead=found["now"] - asked,
        no_interface=found["no_interface"],
        nccl=found["nccl"],
        told=EngineFacts(told["engine"], told["images"]),
    )


def _machine(host: Host, facts: dict[str, Any]) -> Machine:
    system, gpus = facts["system"], facts["gpus"]
    told = gpus.get("smi", {}).get("gpus", []) if host.variables.get("gpu") != "none" else []
    vram = [float(re.sub(r"[^\d.]", "", gpu["memory.total"]) or 0) / 1024 for gpu in told]
    return Machine(
        hostname=host.name,
        system=f"{system['distribution']}, kernel {system['kernel']}",
        cpu=system["cpu"],
        cores=system["cpus"],
        ram_gib=facts["memory"]["gib"],
        python=system["python"],
        gpus=[Gpu(gpu["name"], round(v, 1), round(v, 1), "") for gpu, v in zip(told, vram, strict=True)],
        driver=gpus.get("driver_loaded") or None,
    )
