"""plan(spec, run, site) -> Plan: what will be run, as data. Runs nothing, asks nothing."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from gpulab.lab.lab import Lab
from gpulab.lab.step import Step
from gpulab.plan.lab_twins import makers, planned_twins
from gpulab.plan.layers import environment, filled, with_all_flags
from gpulab.plan.layout.step import Devices, lay_out, layout_values, wants_layout
from gpulab.plan.plan import TOOLS, TRACER, TRACES, Command, Node, Plan, PlanSpec, Site
from gpulab.stacks.stack import Stack

ONE_NODE = Site()


def plan(spec: PlanSpec, run: Path, site: Site = ONE_NODE) -> Plan:
    """The plan of one run in the folder `run`."""
    lab, ports, nodes, rendezvous = spec.lab, spec.ports, site.nodes, site.rendezvous
    cpu = spec.profile == "cpu"
    devices = site.devices or Devices(lab.needs.gpus or 1, lab.needs.vram_gib)
    twins = planned_twins(lab) if cpu else {}
    models = {
        key: str(twins[key].folder) if key in twins else name for key, name in {"model": "", **lab.models}.items()
    }
    env = _environment(spec, spec.stack)
    commands = [
        Command(step=twin.step, argv=twin.argv, cwd=lab.folder, out=run / twin.step, env=env)
        for twin in makers(list(twins.values()))
    ]
    left_out = _left_out(lab, nodes, devices, cpu=cpu)
    for name, step in lab.steps.items():
        if name in left_out:
            continue
        out, stack = run / name, spec.stacks.get(name)
        usual_env = _environment(spec, stack) if stack else env
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
        own = {k: filled(v, values) for k, v in step.env.items() if not (cpu and k == "CUDA_VISIBLE_DEVICES")}
        if cpu:
            own |= {k: filled(v, values) for k, v in lab.rehearse.of(name).env.items()}
        if (step.processes or laid_out) and not step.launched:
            own |= {"NPROC_PER_NODE": str(processes), "MASTER_PORT": rendezvous}
        if laid_out:
            gpus = dataclasses.replace(devices, count=processes)
            values |= layout_values(lay_out(lab, name, argv, len(nodes) if step.spread else 1, gpus))
        if spec.traced:
            folders = (str(TRACER), *filter(None, [own.get("PYTHONPATH") or usual_env.get("PYTHONPATH")]))
            own |= {"PYTHONPATH": os.pathsep.join(folders), "GPULAB_TRACE": str(run / TRACES / name)}
        taken = max(processes, lab.needs.gpus or 1, step.gpus)
        command = Command(
            step=name,
            argv=tuple(filled(word, values) for word in argv),
            cwd=lab.folder,
            out=out,
            env={**usual_env, **own},
            stack=stack,
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


def _environment(spec: PlanSpec, stack: Stack) -> dict[str, str]:
    """What every step has that runs in that stack."""
    env = environment(stack, cpu=spec.profile == "cpu")
    return {**env, "USE_HF": "1"} if spec.hub == "hf" else env  # ms-swift's own name for it


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
        argv = tuple(filled(word, told) for word in command.argv)
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


def _last_user(lab: Lab, server: str) -> str:
    """The last step that refers to `server`: it may stop after that."""
    users = [name for name, step in lab.steps.items() if any(key == server for key, _ in step.placeholders)]
    return users[-1] if users else server
