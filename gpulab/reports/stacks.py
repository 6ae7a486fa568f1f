"""`inv stacks`: a line or two for each stack, or one stack at length."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.text import Text

from gpulab.common.listing import facts, lines
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.stacks.stack import Stack, load_stack, load_stacks

LEGEND = "./inv stacks --stack NAME shows one with its pins."


def list_stacks(name: str = "", install: str = "") -> Outcome:
    """Every stack, or all that is to know of one; makes a local venv when asked."""
    if install:
        load_stack(install).ensure()
    if name:
        stack = load_stack(name)
        return Outcome({"stacks": [row(stack)]}, text=page(stack))
    stacks = load_stacks().values()
    table = lines("stack", "python", "torch", "venv", "what for", wraps="what for")
    for stack in stacks:
        table.add_row(stack.name, stack.pins.python, stack.pins.torch, made(stack), Text(stack.pins.about))
    return Outcome({"stacks": [row(stack) for stack in stacks]}, text=Group(table, Text(LEGEND, style="dim")))


def row(stack: Stack) -> dict[str, Any]:
    """A stack as --json has it."""
    venv = stack.venv if stack.installed else None
    return {"stack": stack.name, **stack.pins.model_dump(by_alias=True), "lock": stack.key, "venv": venv}


def page(stack: Stack) -> Any:
    """All that is to know of a stack."""
    return facts({
        "stack": f"{stack.name}: {stack.pins.about}",
        "from": stack.parent.name if stack.parent else "",
        "python": stack.pins.python,
        "torch": stack.pins.torch,
        "pins": "\n".join(stack.pins.pins),
        "leaves out": "\n".join(stack.left_out),
        "lock": shown(stack.lock),
        "venv": shown(stack.venv) if stack.installed else f"not made: ./inv stacks --install {stack.name}",
    })  # fmt: skip


def made(stack: Stack) -> str:
    """Whether its local venv is there."""
    return "made" if stack.installed else "-"
