"""plan(spec, run, site) -> Plan: what will be run, as data. Runs nothing, asks nothing."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from gpulab.common.paths import ROOT
from gpulab.common.profile import Profile
from gpulab.common.yamlfile import load
from gpulab.lab import flags
from gpulab.lab.lab import Lab
from gpulab.lab.step import PLACEHOLDER, Ready, Step
from gpulab.plan.lab_twins import makers, planned_twins
from gpulab.plan.layout.step import Devices, lay_out, layout_values, wants_layout
from gpulab.stacks.stack import Stack

GPULAB = ROOT / "gpulab"
TOOLS = GPULAB / "inside"  # {tools}: what commands run of the lab's own, such as twins, ready.py, rank_report.py
SHIPPED = (TOOLS, GPULAB / "checks")  # all of gpulab/ that containers and hosts get
TRACER = TOOLS / "tracing"
TRACES = "trace"  # the run's folder for them
RENDEZVOUS = "29400"  # the first of the ports that hosts keep free for it (ansible/roles/base)


@dataclass(frozen=True)
class Network:
    """What a step's server binds to, and the name that the other steps know it by ({step} is its own)."""

    bind: str = "127.0.0.1"
    server: str = "127.0.0.1"


@dataclass(frozen=True)
class Node:
    """One node of a spread step: its name, the address at which the others reach it, the interface of that address, and
    what it is told as its rank where only it knows; what its host sets for NCCL beside the interface."""

    name: str
    address: str
    interface: str
    rank: str = ""
    nccl: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Where a plan runs: on which nodes its spread steps, the first of them being the master; the port on which ranks
    meet; what each node has (else what the lab needs), and each node's GPUs in the order in which a step takes them
    (none: it sees all that there are)."""

    network: Network = Network()
    nodes: Sequence[Node] = ()
    rendezvous: str = RENDEZVOUS
    devices: Devices | None = None
    visible: Sequence[Sequence[int]] = ()


@dataclass(frozen=True, kw_only=True)
class PlanSpec:
    """What a plan is made of: `settings` are flags by step, above all others; `ports` one for each server step;
    `traced`: each step leaves a trace of what it called."""

    lab: Lab
    profile: Profile
    stack: Stack
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    hub: str = "modelscope"
    traced: bool = False


@dataclass(frozen=True)
class Command:
    """One process: what to run, where, and what it must leave behind. `until` names a server's last user.

    A spread step has one on each node: `rank` is the node's, `node` its name. `world` is how many processes train in
    all.
    """

    step: str
    argv: tuple[str, ...]
    cwd: Path
    out: Path
    env: Mapping[str, str]
    makes: tuple[str, ...] = ()
    proves: tuple[str, ...] = ()
    ready: Ready | None = None
    port: int | None = None
    until: str | None = None
    rank: int | None = None
    node: str = ""
    world: int = 1

    @property
    def name(self) -> str:
        """The step's name; of a spread one with the node's rank."""
        return self.step if self.rank is None else f"{self.step}-{self.rank}"

    @property
    def url(self) -> str | None:
        """The API's address when the command is a server."""
        return f"http://127.0.0.1:{self.port}/v1" if self.ready else None


@dataclass(frozen=True)
class Plan:
    """The commands of one run, in order, and what they share."""

    lab: Lab
    profile: Profile
    stack: Stack
    model: str
    run: Path
    commands: tuple[Command, ...] = field(repr=False)
    rendezvous: str = RENDEZVOUS
    left_out: Mapping[str, str] = field(default_factory=dict)
    """The lab's steps that are not run this time, each with the reason."""
    resumes: bool = False
    """Whether it goes on with an earlier run."""

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in order."""
        return tuple(dict.fromkeys(c.step for c in self.commands))

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that the commands start."""
        return tuple(dict.fromkeys(c.argv[0] for c in self.commands))

    def command(self, step: str) -> Command:
        """The command of `step`; of a spread one the first node's, which keeps what is shared."""
        return self.ranks(step)[0]

    def ranks(self, step: str) -> tuple[Command, ...]:
        """The commands of `step`, one for each node."""
        return tuple(c for c in self.commands if c.step == step)


@cache
def additions() -> dict[str, Any]:
    """commands.yml: the flags and environment that the lab adds."""
    data: dict[str, Any] = load(GPULAB / "lab/commands.yml")
    return data


def plan(spec: PlanSpec, run: Path, site: Site = Site()) -> Plan:
    """The plan of one run in the folder `run`."""
    lab, ports, nodes, rendezvous = spec.lab, spec.ports, site.nodes, site.rendezvous
    cpu = spec.profile == "cpu"
    devices = site.devices or Devices(lab.needs.gpus or 1, lab.needs.vram_gib)
    twins = planned_twins(lab) if cpu else {}
    models = {
        key: str(twins[key].folder) if key in twins else name for key, name in {"model": "", **lab.models}.items()
    }
    env = environment(spec.stack, cpu=cpu)
    if spec.hub == "hf":
        env["USE_HF"] = "1"  # ms-swift's own name for it
    commands = [
        Command(step=twin.step, argv=twin.argv, cwd=lab.folder, out=run / twin.step, env=env)
        for twin in makers(list(twins.values()))
    ]
    left_out = _left_out(lab, nodes, devices, cpu=cpu)
    for name, step in lab.steps.items():
        if name in left_out:
            continue
        out = run / name
        argv = with_all_flags(lab, name, step, cpu=cpu, settings=spec.settings.get(name, {}))
        laid_out = wants_layout(argv)
        usual = devices.count if laid_out else lab.needs.gpus or 1 if step.spread and not cpu else 1
        processes = (cpu and lab.rehearse.of(name).processes) or step.processes or usual
        world = processes * (len(nodes) if step.spread else 1)
        values = {**models, **{f"{key}.name": Path(model).name for key, model in models.items()}}
        values |= {"lab": str(lab.folder), "out": str(out)}
        values |= {"bind": site.network.bind, "tools": str(TOOLS)}
        group = {"nnodes": len(nodes) or 1, "processes": processes, "world": world}
        values |= {key: str(number) for key, number in group.items()}
        if step.ready:
            values["port"] = str(ports[name])
        for earlier, port in ports.items():
            server = site.network.server.format(step=earlier)
            values |= {f"{earlier}.url": f"http://{server}:{port}/v1", f"{earlier}.port": str(port)}
        values |= {earlier: str(run / earlier) for earlier in lab.steps}
        # Which GPUs a step takes says nothing of a rehearsal, which must see none.
        own = {k: _filled(v, values) for k, v in step.env.items() if not (cpu and k == "CUDA_VISIBLE_DEVICES")}
        if cpu:
            own |= {k: _filled(v, values) for k, v in lab.rehearse.of(name).env.items()}
        if (step.processes or laid_out) and not step.launched:
            own |= {"NPROC_PER_NODE": str(processes), "MASTER_PORT": rendezvous}
        if laid_out:
            gpus = dataclasses.replace(devices, count=processes)
            values |= layout_values(lay_out(lab, name, argv, len(nodes) if step.spread else 1, gpus))
        if spec.traced:
            folders = (str(TRACER), *filter(None, [own.get("PYTHONPATH") or env.get("PYTHONPATH")]))
            own |= {"PYTHONPATH": os.pathsep.join(folders), "GPULAB_TRACE": str(run / TRACES / name)}
        taken = max(processes, lab.needs.gpus or 1, step.gpus)
        command = Command(
            step=name,
            argv=tuple(_filled(word, values) for word in argv),
            cwd=lab.folder,
            out=out,
            env={**env, **own},
            makes=tuple(step.makes),
            proves=tuple(step.proves),
            ready=step.ready,
            port=ports.get(name) if step.ready else None,
            until=_last_user(lab, name) if step.ready else None,
            world=world,
        )
        group_of = _spread(command, step, nodes, rendezvous) if step.spread else [command]
        commands += group_of if cpu or laid_out else [_on_its_gpus(c, taken, site.visible) for c in group_of]
    return Plan(lab, spec.profile, spec.stack, models["model"], run, tuple(commands), rendezvous, left_out)


def environment(stack: Stack, *, cpu: bool) -> dict[str, str]:
    """The environment of every step: always, on a CPU, in this stack."""
    added = additions()["env"]
    own = {k: _filled(v, {"tools": str(TOOLS)}) for k, v in additions()["stacks"].get(stack.name, {}).items()}
    return {**added["always"], **(added["cpu"] if cpu else {}), **own}


def _left_out(lab: Lab, nodes: Sequence[Node], devices: Devices, *, cpu: bool) -> dict[str, str]:
    """The steps that can't be run with what there is, each with the reason."""
    reasons = {}
    for name, step in lab.steps.items():
        if cpu and (why := lab.rehearse.of(name).impossible):
            reasons[name] = why
        elif not cpu and devices.count < step.gpus:
            reasons[name] = f"it needs {step.gpus} GPUs, here are {devices.count}"
        elif step.apart and len({node.address for node in nodes}) < len(nodes):
            reasons[name] = "its nodes need an address each: --engine docker gives them one"
    return reasons


def _spread(command: Command, step: Step, nodes: Sequence[Node], rendezvous: str) -> list[Command]:
    """The command on every node, told its rank and the master: in the names that ms-swift reads, or on its line."""
    spread = []
    for rank, node in enumerate(nodes):
        told = {"node_rank": node.rank or str(rank), "master_addr": nodes[0].address, "master_port": rendezvous}
        env = {"NCCL_SOCKET_IFNAME": node.interface, "GLOO_SOCKET_IFNAME": node.interface}
        if not step.launched:
            env |= {"NPROC_PER_NODE": str(command.world // len(nodes)), "NNODES": str(len(nodes))}
            env |= {key.upper(): value for key, value in told.items()}
        argv = tuple(_filled(word, told) for word in command.argv)
        spread.append(
            dataclasses.replace(command, argv=argv, rank=rank, node=node.name, env={**node.nccl, **command.env, **env})
        )
    return spread


def _on_its_gpus(command: Command, count: int, visible: Sequence[Sequence[int]]) -> Command:
    """The command with no more GPUs in sight than it needs: over all that it sees, one process spreads its model."""
    here = visible[command.rank or 0] if len(visible) > (command.rank or 0) else ()
    if len(here) <= count or "CUDA_VISIBLE_DEVICES" in command.env:
        return command
    only = ",".join(str(number) for number in here[:count])
    # The numbers are the driver's: CUDA's own order begins with the fastest.
    own = {"CUDA_VISIBLE_DEVICES": only, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return dataclasses.replace(command, env={**command.env, **own})


def with_all_flags(lab: Lab, name: str, step: Step, *, cpu: bool, settings: Mapping[str, str]) -> list[str]:
    """The step's words with every layer of flags: the lab's line, then always < cpu < rehearse < --set.

    A server's port is the plan's: which one is free is found out when it runs.
    """
    settings = {flag: value for flag, value in settings.items() if not (step.ready and flag == "port")}
    argv = step.argv
    command = flags.command(argv)
    own = flags.given(argv)
    layers: dict[str, Any] = {k: v for k, v in additions()["always"].get(command, {}).items() if k not in own}
    if cpu:
        layers |= additions()["cpu"].get(command, {})
        layers |= lab.rehearse.of(name).flags
    return flags.with_flags(argv, {**layers, **settings})


def _filled(word: str, values: Mapping[str, str]) -> str:
    """`word` with its placeholders replaced; what is not a placeholder (JSON's braces) stays as it is."""
    return PLACEHOLDER.sub(lambda m: values.get(m[0][1:-1], m[0]), word)


def _last_user(lab: Lab, server: str) -> str:
    """The last step that refers to `server`: it may stop after that."""
    users = [name for name, step in lab.steps.items() if any(key == server for key, _ in step.placeholders)]
    return users[-1] if users else server
