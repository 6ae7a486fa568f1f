"""A Plan as a shell script that runs by itself: what `--dry` prints and every run keeps as plan.sh."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from gpulab.common import redact
from gpulab.common.paths import ROOT, shown
from gpulab.plan.plan import TOOLS, Command, Plan
from gpulab.stacks.stack import Stack

HEADER = """\
#!/usr/bin/env bash
# {lab}, profile {profile}, engine {engine}: {title}
# Reproduces the run by itself: {by_hand} plan.sh [FOLDER FOR THE RESULTS]
{options}set -euo pipefail
LAB={root}
RUN={results}
RUN=$(realpath -m -- "${{1:-$RUN}}")
"""
READY = TOOLS / "ready.py"
LOCAL = Path(__file__).parent / "local.sh"


class Shell(ABC):
    """How an engine's commands look in a script."""

    name: ClassVar[str]
    by_hand: ClassVar[str] = "bash"

    def __init__(self, plan: Plan, folders: Mapping[str, str]) -> None:
        self.plan = plan
        self.folders = {"RUN": str(plan.run), **folders, "LAB": str(ROOT), **redact.variables()}

    def options(self) -> str:
        """Lines for the program that takes the script, as comments before everything else."""
        return ""

    def results(self) -> str:
        """The folder for the results where none is given, in the shell's words."""
        return quote(f"{shown(self.plan.run)}-again")

    @abstractmethod
    def head(self) -> str:
        """What stands at the top: checks, exports, how a server is stopped."""

    @abstractmethod
    def step(self, command: Command) -> list[str]:
        """The lines that carry out a step; of a server, those that start it and wait until it answers."""

    @abstractmethod
    def stop(self, step: str) -> str:
        """The line that stops a step's server."""

    def tail(self) -> str:
        """What stands at the end."""
        return ""

    def quoted(self, words: Sequence[str]) -> str:
        """Words quoted for the shell, with folders written as variables."""
        return " ".join(quoted(word, self.folders) for word in words)


def as_script(shell: Shell) -> str:
    """The script of the shell's plan. The run's folder, the repository and what the engine adds are variables."""
    plan = shell.plan
    head = HEADER.format(
        lab=plan.lab.name, profile=plan.profile, engine=shell.name, title=plan.lab.title, root=quote(ROOT),
        by_hand=shell.by_hand, options=shell.options(), results=shell.results(),
    )  # fmt: skip
    lines = [head + shell.head() + 'mkdir -p "$RUN"']
    lines += [f"\n# {step} is left out: {why}" for step, why in plan.left_out.items()]
    for command in plan.commands:
        if not command.rank:  # of a spread step once
            lines += [f"\necho {quote(f'== {command.step}')}", f"mkdir -p {shell.quoted([str(command.out)])}"]
        lines += shell.step(command)
        lines += [shell.stop(s.step) for s in plan.commands if s.ready and s.until == command.step]
    return "\n".join(lines) + "\n" + shell.tail()


def quoted(word: str, folders: Mapping[str, str]) -> str:
    """`word` quoted for the shell, its folders written as variables."""
    for name, folder in folders.items():
        if folder in word:
            parts = word.split(folder)
            return f'"${name}"'.join(quoted(part, folders) if part else "" for part in parts)
    return quote(word)


def quote(word: object) -> str:
    """`word` as one word of the shell, whatever is in it."""
    return shlex.quote(str(word))


def assigned(**values: object) -> str:
    """Lines that set variables of a script, whatever is in them."""
    return "".join(f"{name}={quote(value)}\n" for name, value in values.items())


def embedded(file: Path) -> str:
    """A file of shell as it goes into a script: without what only shellcheck reads."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.lstrip().startswith("# shellcheck"))


class LocalShell(Shell):
    """See Shell: the stack's venv first on PATH, the environment that all commands share exported once."""

    name = "local"

    def __init__(self, plan: Plan) -> None:
        steps = {command.stack.name: command.stack for command in plan.commands if command.stack}
        self._stacks = {"STACK": plan.stack} | {_folder(stack): stack for stack in steps.values()}
        super().__init__(plan, {name: str(stack.venv) for name, stack in self._stacks.items()})
        self._shared = dict(plan.commands[0].env)
        for command in plan.commands:
            self._shared = {k: v for k, v in self._shared.items() if command.env.get(k) == v}

    def head(self) -> str:
        """See Shell."""
        folders = "\n".join(f"{key}={quoted(str(one.venv), {'LAB': str(ROOT)})}" for key, one in self._stacks.items())
        exports = "\n".join(f"export {k}={self.quoted([v])}" for k, v in self._shared.items())
        made = "\n".join(f'made {quote(one.name)} "${key}"' for key, one in self._stacks.items())
        return f"{folders}\n{exports}\n{embedded(LOCAL)}{made}\n"

    def step(self, command: Command) -> list[str]:
        """See Shell."""
        own = [f'PATH="${_folder(command.stack)}/bin:$PATH"'] if command.stack else []
        own += [f"{k}={self.quoted([v])}" for k, v in command.env.items() if self._shared.get(k) != v]
        words = " ".join([*own, self.quoted(command.argv)])
        into = f"cd {self.quoted([str(command.cwd)])}"
        if command.rank is not None:  # the nodes side by side; the first that fails ends the script
            last = command.rank == len(self.plan.ranks(command.step)) - 1
            return [into, f"{words} &", "nodes+=($!)", *(['wait_for "${nodes[@]}"; nodes=()'] if last else [])]
        if not command.ready:
            return [into, words]
        pid = self._variable(command.step)
        ready = ["python", str(READY), str(command.url), command.ready.chat, f"{command.ready.within:g}"]
        return [into, f"{words} &", f"{pid}=$!; servers+=(${pid})", self.quoted(ready)]

    def stop(self, step: str) -> str:
        """See Shell."""
        return f'stop "${self._variable(step)}"'

    def _variable(self, step: str) -> str:
        return step.replace("-", "_")


def _folder(stack: Stack) -> str:
    """The variable that has the folder of a step's own stack."""
    return f"STACK_{stack.name.replace('-', '_')}"
