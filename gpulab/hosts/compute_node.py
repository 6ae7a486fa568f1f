"""What a host offers a lab: its hardware, the shared folder, and as whom containers write there."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.common.yamlfile import load
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.show import look_at
from gpulab.hosts.ssh import Answer, ask
from gpulab.lab.written import Needs
from gpulab.plan.machine import Gpu, Machine

STORAGE = ROOT / "ansible" / "roles" / "lab_storage" / "defaults" / "main.yml"
ENVIRONMENT = "/etc/gpu-lab.env"  # what the role lab_storage tells programs
SKEW = 30.0  # seconds by which the clocks of a run's hosts may differ: no less can be told over a busy ssh
# The caller's own uid, the shared folder's group: what a run writes is the caller's, and the group can read on.
# The interface is the one that the role fabric chose for NCCL, else that of the address which the inventory names.
LOOK = """
import fcntl, json, os, pathlib, re, shutil, socket, struct, sys, time
runs, told, known = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
def address(name):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            return socket.inet_ntoa(fcntl.ioctl(s, 0x8915, struct.pack("256s", name.encode()[:15]))[20:24])
    except OSError:
        return ""
nccl = pathlib.Path("/etc/nccl.conf")
chosen = re.search(r"^NCCL_SOCKET_IFNAME=.?([a-z][\\w.]*)", nccl.read_text(), re.M) if nccl.is_file() else None
addresses = {name: address(name) for _, name in socket.if_nameindex() if name != "lo"}
named = chosen[1] if chosen else next((n for n, a in addresses.items() if a == known), "")
interface = named if addresses.get(named) else next((n for n, a in addresses.items() if a), "")
print(json.dumps({
    "uid": os.getuid(), "gid": runs.stat().st_gid if runs.is_dir() else None,
    "told": told.read_text() if told.is_file() else "",
    "free_gib": shutil.disk_usage(runs).free / 2**30 if runs.is_dir() else 0,
    "shm_mib": shutil.disk_usage("/dev/shm").total // 2**20,
    "interface": interface, "address": addresses.get(interface, ""), "now": time.time(),
    "rdma": os.path.isdir("/dev/infiniband"),
}))
"""


@dataclass(frozen=True)
class ComputeNode:
    """A host as a lab sees it: facts for the record, `uid:gid` of containers, the shared folder, what programs are
    told, free disk in GiB, the size of /dev/shm in MiB, the interface for traffic between nodes and its address,
    whether there is RDMA, and by how many seconds the host's clock is ahead of this machine's."""

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


def shared_folder(host: Host) -> Path:
    """The shared folder: the inventory's, else the role's own default."""
    return Path(str(host.variables.get("lab_storage_path") or load(STORAGE)["lab_storage_path"]))


def find_compute_nodes(needs: Needs, inventory: str, limit: str, count: int) -> list[ComputeNode]:
    """The first `count` hosts of the inventory that can be reached and have the GPUs that are needed, in its order;
    where there are not so many, the first that can be reached, for a rehearsal there.

    Raises UsageError where too few can be reached, or their clocks differ.
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
        for compute_node in ask_compute_nodes(asked, inventory):
            if isinstance(compute_node, UsageError):
                console.print(f"[yellow]passed over[/] {escape(compute_node.message)}")
                trouble = compute_node
                continue
            reached.append(compute_node)
            if not compute_node.machine.lacks(needs):
                fit.append(compute_node)
    if len(reached) < count:
        raise trouble
    chosen = (fit if len(fit) >= count else reached)[:count]
    refuse_skew(chosen)
    return chosen


def refuse_skew(compute_nodes: list[ComputeNode]) -> None:
    """Raise UsageError where clocks differ: time-outs of the rendezvous and the order of logs then mislead."""
    early, late = (pick(compute_nodes, key=lambda s: s.ahead) for pick in (min, max))
    if late.ahead - early.ahead > SKEW:
        raise UsageError(
            f"the clocks of {early.host.name} and {late.host.name} differ by {late.ahead - early.ahead:.0f} s",
            "./inv provision --tags base sets them right (chrony)",
        )


def ask_compute_nodes(hosts: list[Host], inventory: str) -> list[ComputeNode | UsageError]:
    """The hosts' compute_nodes, all asked at once; where a host has none, why, and the cure."""
    where = {h.name: [str(shared_folder(h) / "runs"), ENVIRONMENT, h.address] for h in hosts}
    with ThreadPoolExecutor() as pool:
        looking = pool.submit(look_at, hosts, ["system", "memory", "gpus"], inventory)
        began = time.time()
        answers = ask(hosts, lambda h: ["python3", "-", *where[h.name]], stdin=LOOK, inventory=inventory)
        asked = (began + time.time()) / 2
        facts = looking.result()
    return [_compute_node(host, answers[host.name], facts[host.name], asked, inventory) for host in hosts]


def _compute_node(
    host: Host, answer: Answer, facts: dict[str, Any] | Answer, asked: float, inventory: str
) -> ComputeNode | UsageError:
    for said in (answer, facts):
        if isinstance(said, Answer) and said.problem:
            return UsageError(f"{host.name}: {said.problem}", said.cure)
    assert isinstance(facts, dict)  # noqa: S101 (see above)
    found, shared = json.loads(answer.stdout), shared_folder(host)
    if found["gid"] is None:
        return UsageError(f"{host.name} has no {shared}/runs", f"./inv provision --hosts {inventory}")
    return ComputeNode(
        host=host,
        machine=_machine(host, facts),
        user=f"{found['uid']}:{found['gid']}",
        shared=shared,
        environment=dict(re.findall(r"^(\w+)=(.*)$", found["told"], re.MULTILINE)),
        free_gib=found["free_gib"],
        shm_mib=found["shm_mib"],
        interface=found["interface"],
        address=found["address"],
        rdma=found["rdma"],
        ahead=found["now"] - asked,
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
