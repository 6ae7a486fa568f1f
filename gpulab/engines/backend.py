"""What runs a plan's commands: `local`, `docker`, docker on hosts, `slurm`. A session is composed on one of them."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

from gpulab.checks import verdict as checks
from gpulab.common.errors import UsageError
from gpulab.common.paths import runs_dir, shown
from gpulab.common.ports import hold, is_free
from gpulab.common.resources import Usage, this_machines_gpus
from gpulab.common.yamlfile import fault
from gpulab.inside.resume_files import ResumeRequest, Taken
from gpulab.plan.plan import RENDEZVOUS, Command, Network, Node, Plan
from gpulab.plan.script import Shell
from gpulab.stacks.stack import Stack


class CannotStart(Exception):
    """A command did not even begin; the message says why."""


class Job(Protocol):
    """One command that was started."""

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as it ended."""

    def stop(self) -> None:
        """End it and all that it started; nothing happens when it has ended."""

    def usage(self) -> Usage:
        """What it uses now."""

    def lost(self) -> str | None:
        """Why nothing is known of it any more, in a few words; None while something is."""


def log_of(plan: Plan, name: str) -> Path:
    """Where the output of a step, or of one node of it, goes."""
    return plan.run / "logs" / f"{name}.log"


def no_program(plan: Plan, command: Command) -> UsageError:
    """That a step's stack does not have its program, with the step's line."""
    wrong = f"the stack {plan.stack_of(command).name} has no program {command.argv[0]!r}"
    return fault(plan.lab.file, ["steps", command.step, "run"], wrong, "check its spelling")


def question(plan: Plan, command: Command) -> checks.Question:
    """What is to be judged of a finished command."""
    return checks.Question(
        step=command.step, out=command.out, log=log_of(plan, command.step), run=plan.run, model=plan.model,
        makes=command.makes, proves=command.proves, world=command.world,
    )  # fmt: skip


class Backend(ABC):
    """Where a plan's commands run. It belongs to no run: what is done for one is told its plan.

    What is not abstract is true of this machine.
    """

    name: ClassVar[str]
    network: ClassVar[Network] = Network()

    def __init__(self, stack: Stack, *, attaches: bool = False) -> None:
        """`attaches`: what is done is to take up a run that goes on already."""
        self.stack, self.attaches = stack, attaches

    # before a run

    @abstractmethod
    def prepare(self) -> None:
        """Have the stack at hand. Raises UsageError when it can't be had."""

    @abstractmethod
    def lacks(self, plan: Plan) -> Command | None:
        """The plan's first command whose stack does not have its program. None also where `lay_ground` looks for
        them."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What the record says about it and its stack."""

    @abstractmethod
    def shell(self, plan: Plan) -> Shell:
        """How a plan's commands look in a script."""

    @abstractmethod
    def nodes(self, count: int) -> list[Node]:
        """The nodes of a spread step. Raises UsageError where there are not so many."""

    def rendezvous(self) -> str:
        """The port on which the ranks of a step meet."""
        return RENDEZVOUS

    def room(self) -> tuple[str, float]:
        """Where a run's files go, and the GiB that are free there."""
        parent = next(p for p in (runs_dir(), *runs_dir().parents) if p.is_dir())
        return shown(parent), shutil.disk_usage(parent).free / 2**30

    # during a run

    def lay_ground(self, plan: Plan) -> None:  # noqa: B027 (on this machine they are there)
        """Have the run's files where its steps will be. Raises UsageError where steps could not run."""

    def take_over(self, plan: Plan, request: ResumeRequest) -> Taken:
        """Take over what another run has done."""
        return request.carry_out()

    def reach(self, command: Command) -> str:
        """Where a server can be reached, for people."""
        return str(command.url)

    @contextmanager
    def gpus(self) -> Iterator[Callable[[], tuple[float, float]]]:
        """A function that reads the GPUs' mean utilization in percent and their memory in use in MiB."""
        yield this_machines_gpus()

    def lasted(self, plan: Plan, command: Command) -> float | None:
        """How many seconds a command took, where that is known better than by whoever began to follow it later."""
        return None

    def discard(self, plan: Plan) -> None:  # noqa: B027 (on this machine they are the run's own)
        """Remove a run's files where its steps were, as if it had never been. Raises UsageError where it can't be."""

    @abstractmethod
    def sweep(self, run: Path) -> None:
        """Stop whatever of the run in that folder is left, also what escaped its step."""


class StepBackend(Backend):
    """One that starts each step by itself. What is not abstract is true of processes on this machine."""

    @abstractmethod
    def start(self, plan: Plan, command: Command) -> Job:
        """Start one command, its output to `log_of(plan, command.name)`. Raises CannotStart."""

    def is_there(self, plan: Plan, command: Command) -> bool:
        """Whether the command runs already, and `start` takes it up."""
        return False

    def is_free(self, port: int) -> bool:
        """Whether a server could take the port now."""
        return is_free(port)

    def hold(self, port: int) -> AbstractContextManager[object] | None:
        """The port for a server, kept from other runs while what is returned is open; None where it is taken."""
        return hold(port)

    @abstractmethod
    def answers(self, plan: Plan, command: Command, timeout: float) -> bool:
        """Whether a server completes a chat within `timeout` seconds."""

    def fetch_progress(self, plan: Plan, command: Command) -> None:
        """Have here what a running command tells of its progress."""

    def fetch(self, plan: Plan, step: str) -> None:
        """Have a finished step's files here."""

    def judge(self, plan: Plan, question: checks.Question) -> checks.Judgement:
        """Did the step make and prove what it claims?"""
        return checks.judge(question)

    def apart(self, plan: Plan, commands: Sequence[Command]) -> str | None:
        """Which nodes of a spread step do not reach each other any more; None while all do, or nobody knows."""
        return None

    def remove(self, plan: Plan, commands: Sequence[Command]) -> None:
        """Remove what is left of commands that are over and on record."""

    @abstractmethod
    def foreground(self, plan: Plan, command: Command) -> int:
        """Run a command with this terminal (see in_foreground); its exit status."""
