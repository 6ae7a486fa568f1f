"""What a plan is: commands as data, what they are made of, and where they run. plan/make.py makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpulab.common.paths import ROOT
from gpulab.common.profile import Profile
from gpulab.lab.lab import Lab
from gpulab.lab.step import Ready
from gpulab.plan.layout.step import Devices
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
    """What a plan is made of: `stacks` are those of steps that have another than the plan's; `settings` are flags by
    step, above all others; `ports` one for each server step; `traced`: each step leaves a trace of what it called."""

    lab: Lab
    profile: Profile
    stack: Stack
    stacks: Mapping[str, Stack] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    hub: str = "modelscope"
    traced: bool = False


@dataclass(frozen=True)
class Command:
    """One process: what to run, where, and what it must leave behind. `until` names a server's last user; `stack` is
    there where it is another than the plan's.

    A spread step has one on each node: `rank` is the node's, `node` its name. `world` is how many processes train in
    all.
    """

    step: str
    argv: tuple[str, ...]
    cwd: Path
    out: Path
    env: Mapping[str, str]
    stack: Stack | None = None
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

    def starting(self, program: str) -> Command:
        """The first command that starts a program."""
        return next(command for command in self.commands if command.argv[0] == program)

    def stack_of(self, command: Command) -> Stack:
        """The stack that a command runs in."""
        return command.stack or self.stack

    def command(self, step: str) -> Command:
        """The command of `step`; of a spread one the first node's, which keeps what is shared."""
        return self.ranks(step)[0]

    def ranks(self, step: str) -> tuple[Command, ...]:
        """The commands of `step`, one for each node."""
        return tuple(c for c in self.commands if c.step == step)
