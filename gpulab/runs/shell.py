"""`inv shell`: a stack opened in this terminal: its venv, a container of its image, or one on a host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gpulab.common.console import console
from gpulab.common.errors import UsageError, nearest
from gpulab.common.failure import Failure
from gpulab.common.numbers import positive
from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS, runs_dir
from gpulab.common.profile import Profile
from gpulab.engines import choose_engine
from gpulab.engines.backend import StepBackend
from gpulab.engines.docker import DockerBackend
from gpulab.engines.interrupts import ignored
from gpulab.engines.local import LocalBackend
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.ssh import forward
from gpulab.lab.lab import Lab
from gpulab.lab.step import Step
from gpulab.lab.written import Needs, Rehearse
from gpulab.plan.plan import TOOLS, Command, Plan
from gpulab.records.read import run_name
from gpulab.records.writer import RunFolder, Writer
from gpulab.runs.spec import RunSpec, compute_nodes_for, machines_of
from gpulab.stacks.stack import Stack, load_stack

ENGINES = (LocalBackend.name, DockerBackend.name)
INTERACTIVE = ("bash", "--rcfile", str(TOOLS / "shell.sh"), "-i")
MOST_GPUS = 1024


@dataclass(frozen=True, kw_only=True)
class Workplace(Lab):
    """A lab that stands in no lab.yaml: its one step is what is typed."""

    @property
    def name(self) -> str:
        """`shell/STACK`."""
        return f"shell/{self.stack}"


def open_shell(
    stack: str, engine: str, hosts: str, limit: str, gpus: int, command: Sequence[str] = ()
) -> Outcome:  # fmt: skip
    """Open the stack for a shell, or for one command; the exit status is its own. Raises UsageError before anything is
    started."""
    if not command and not os.isatty(0):
        raise UsageError(
            "a shell needs a terminal, and there is none", f"give it a command: ./inv shell {stack} -- python FILE"
        )
    spec = workplace(stack, engine, hosts, limit, gpus)
    if not command:
        console.print(f"[bold]{stack}[/] {spec.why}; `exit` leaves it")
    try:
        status = carry_out(spec, command or INTERACTIVE)
    except FileNotFoundError as error:
        missing = Failure(f"neither the stack {stack} nor this machine has a program {error.filename!r}")
        return Outcome(failures=[missing], code=127)
    return Outcome({"stack": stack, "engine": spec.engine.name, "exit": status}, code=status)


def workplace(stack: str, engine: str, hosts: str, limit: str, gpus: int) -> RunSpec:
    """Where the stack is opened, and with which GPUs. Raises UsageError where it can't be."""
    found = load_stack(stack)
    positive("--gpus", gpus, MOST_GPUS)
    if engine and engine not in ENGINES:
        raise UsageError(f"no engine {engine!r} for a shell", nearest(engine, list(ENGINES)))
    if gpus and found.pins.torch != "cuda":
        raise UsageError(f"the stack {stack} uses no GPU", "leave --gpus out, or take another stack: ./inv stacks")
    asked = Needs.model_validate({"gpus": gpus})
    return opened(found, engine, hosts, compute_nodes_for([asked], engine, hosts, limit, 1, [stack]), gpus)


def opened(stack: Stack, engine: str, hosts: str, compute_nodes: Sequence[ComputeNode], gpus: int) -> RunSpec:
    """The stack opened on hosts, here where there are none, with so many GPUs of each; 0: all that it can use. Raises
    UsageError where one has fewer."""
    machines = machines_of(compute_nodes, engine, 1)
    for machine in machines:
        if gpus > len(machine.gpus):
            fewer = "fewer, or other hosts (--limit)"
            raise UsageError(f"--gpus {gpus}: {machine.hostname} has {len(machine.gpus)}", fewer)
    seen = (gpus or min(len(machine.gpus) for machine in machines)) if stack.pins.torch == "cuda" else 0
    lab = Workplace(
        folder=LABS / "common" / "data", title=f"a place to work in, stack {stack.name}", upstream="", curriculum="",
        stack=stack.name, models={}, needs=Needs.model_validate({"gpus": seen}), rehearse=Rehearse.model_validate({}),
        steps={"shell": Step.model_validate({"run": "bash"})},
    )  # fmt: skip
    profile: Profile = "cpu" if stack.pins.torch == "cpu" else "gpu"
    where = f"on {', '.join(machine.hostname for machine in machines)}" if compute_nodes else "here"
    return RunSpec(
        lab=lab, profile=profile, why=f"{where}, {seen} GPUs", stack=stack, nodes=len(machines), inventory=hosts,
        engine=choose_engine(engine, stack, compute_nodes, hosts), compute_nodes=compute_nodes, machines=machines,
    )  # fmt: skip


def carry_out(spec: RunSpec, argv: Sequence[str], port: int | None = None) -> int:
    """Run one command there with this terminal; its exit status. Containers, network and reservation last as long.

    `port`: what it serves, on this machine's loopback as well where it runs on a host.
    """
    engine = spec.engine
    assert isinstance(engine, StepBackend)  # noqa: S101 (no queue's, see ENGINES)
    if isinstance(engine, LocalBackend):
        if not spec.stack.installed:
            raise UsageError(
                f"the stack {spec.stack.name} is not installed here",
                f"./inv stacks --install {spec.stack.name}, or --engine docker",
            )
        return engine.foreground(*placed(spec, runs_dir(), argv, port))
    engine.prepare()
    folder = RunFolder.make(spec.lab.slug)
    plan, command = placed(spec, folder.path, argv, port)
    try:
        Writer(folder, spec.record(run_name(folder.path)))  # so that the next inv removes what a killed one leaves
        engine.lay_ground(plan)
        with forwarded(spec, port):
            return engine.foreground(plan, command)
    finally:
        with ignored():
            engine.sweep(plan.run)
            with suppress(UsageError):  # its host can't be asked any more
                engine.discard(plan)
            folder.discard()


@contextmanager
def forwarded(spec: RunSpec, port: int | None) -> Iterator[None]:
    """A port of the host's loopback is there on this machine's, too."""
    hosts = [node.host for node in spec.compute_nodes if not node.host.local]
    if not hosts or port is None:
        yield
        return
    tunnel = subprocess.Popen(forward(hosts[0], port), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        tunnel.terminate()
        tunnel.wait()


def placed(spec: RunSpec, run: Path, argv: Sequence[str], port: int | None) -> tuple[Plan, Command]:
    """The plan of the command, and the command: in the folder that one is in, on a host in the shared one."""
    plan = spec.plan(run)
    own = {"GPULAB_STACK": spec.stack.name}
    if isinstance(spec.engine, LocalBackend):
        own["GPULAB_BIN"] = str(spec.stack.bin)
    cwd = spec.compute_nodes[0].shared if spec.compute_nodes else Path.cwd()
    step = plan.command("shell")
    command = replace(step, argv=tuple(argv), cwd=cwd, env={**step.env, **own}, port=port)
    return replace(plan, commands=(command,)), command
