"""How a training goes on from a checkpoint as if it had never stopped: the flags for it, by command (commands.yml).

The data that were trained on are skipped by the trainer itself, as long as nobody tells it `ignore_data_skip`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gpulab.inside.resume_files import Taken
from gpulab.lab import flags
from gpulab.plan.layers import additions
from gpulab.plan.plan import Command, Plan

PROOF = "went on from its checkpoint"


def flags_for(command: Command, checkpoint: str) -> dict[str, str]:
    """The flags that make a command go on from a checkpoint; none for a command that cannot."""
    name = flags.command(command.argv) or ""
    known: dict[str, dict[str, str]] = additions()["resume"]
    tuner = str(flags.read(command.argv, command.cwd).get("tuner_type", ""))
    found = (known.get(f"{name} lora") if tuner.startswith("lora") else None) or known.get(name, {})
    return {flag: value.replace("{checkpoint}", checkpoint) for flag, value in found.items()}


def going_on(command: Command, checkpoint: Path) -> Command:
    """The command, going on from a checkpoint; it has to prove that it did."""
    argv = flags.with_flags(command.argv, flags_for(command, str(checkpoint)))
    return dataclasses.replace(command, argv=tuple(argv), proves=(*command.proves, PROOF))


def carried_out(plan: Plan, step: str, taken: Taken) -> tuple[Command, ...]:
    """The commands of a step as they are carried out: one that was begun before goes on from its checkpoint."""
    commands = plan.ranks(step)
    if step != taken.next or not taken.checkpoint:
        return commands
    return tuple(going_on(c, c.out / taken.checkpoint) for c in commands)
