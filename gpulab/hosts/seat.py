"""What a host offers a lab: its hardware, the shared folder, and as whom containers write there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from gpulab.console import console
from gpulab.errors import UsageError
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.show import look_at
from gpulab.hosts.ssh import Answer, ask
from gpulab.lab import Needs
from gpulab.machine import Gpu, Machine
from gpulab.paths import ROOT
from gpulab.yamlfile import load

STORAGE = ROOT / "ansible" / "roles" / "lab_storage" / "defaults" / "main.yml"
ENVIRONMENT = "/etc/gpu-lab.env"  # what the role lab_storage tells programs
# The caller's own uid, the shared folder's group: what a run writes is the caller's, and the group can read on.
LOOK = """
import json, os, pathlib, shutil, sys
runs, told = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
print(json.dumps({
    "uid": os.getuid(), "gid": runs.stat().st_gid if runs.is_dir() else None,
    "told": told.read_text() if told.is_file() else "",
    "free_gib": shutil.disk_usage(runs).free / 2**30 if runs.is_dir() else 0,
    "shm_mib": shutil.disk_usage("/dev/shm").total // 2**20,
}))
"""


@dataclass(frozen=True)
class Seat:
    """A host as a lab sees it: facts for the record, `uid:gid` of containers, the shared folder, what programs are
    told, free disk in GiB, the size of /dev/shm in MiB."""

    host: Host
    machine: Machine
    user: str
    shared: Path
    environment: dict[str, str]
    free_gib: float
    shm_mib: int


def shared_folder(host: Host) -> Path:
    """The shared folder: the inventory's, else the role's own default."""
    return Path(str(host.variables.get("lab_storage_path") or load(STORAGE)["lab_storage_path"]))


def find_seat(needs: Needs, inventory: str, limit: str) -> Seat:
    """The first host of the inventory that can be reached and has the GPUs that are needed; where none has, the first
    that can be reached (for a rehearsal there). Raises UsageError where none can.
    """
    first: Seat | None = None
    trouble: UsageError | None = None
    for host in load_hosts(inventory, limit):
        try:
            (seat,) = take_seats([host], inventory)
        except UsageError as error:
            trouble = trouble or error
            console.print(f"[yellow]passed over[/] {escape(error.message)}")
            continue
        if not seat.machine.lacks(needs):
            return seat
        first = first or seat
    if first is None:
        raise trouble or UsageError(f"no host in {inventory}", "write one below a group: gpu1 ansible_host=10.0.0.11")
    return first


def take_seats(hosts: list[Host], inventory: str) -> list[Seat]:
    """The hosts' seats, all asked at once. Raises UsageError naming the first that has none, and the cure."""
    answers = ask(
        hosts, lambda h: ["python3", "-", str(shared_folder(h) / "runs"), ENVIRONMENT], stdin=LOOK, inventory=inventory
    )
    facts = look_at(hosts, ["system", "memory", "gpus"], inventory)
    return [_seat(host, answers[host.name], facts[host.name]) for host in hosts]


def _seat(host: Host, answer: Answer, facts: dict[str, Any] | Answer) -> Seat:
    for said in (answer, facts):
        if isinstance(said, Answer) and said.problem:
            raise UsageError(f"{host.name}: {said.problem}", said.cure)
    assert isinstance(facts, dict)  # noqa: S101 (see above)
    found, shared = json.loads(answer.stdout), shared_folder(host)
    if found["gid"] is None:
        raise UsageError(f"{host.name} has no {shared}/runs", "./inv provision --hosts gpus.ini --tags lab_storage")
    return Seat(
        host=host,
        machine=_machine(host, facts),
        user=f"{found['uid']}:{found['gid']}",
        shared=shared,
        environment=dict(re.findall(r"^(\w+)=(.*)$", found["told"], re.MULTILINE)),
        free_gib=found["free_gib"],
        shm_mib=found["shm_mib"],
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
