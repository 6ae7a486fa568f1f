"""The flags and the environment of a step's command, layer above layer: whose flag wins."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from gpulab.common.yamlfile import load
from gpulab.lab import flags
from gpulab.lab.lab import Lab
from gpulab.lab.step import PLACEHOLDER, Step
from gpulab.plan.plan import GPULAB, TOOLS
from gpulab.stacks.stack import Stack


@cache
def additions() -> dict[str, Any]:
    """commands.yml: the flags and environment that the lab adds."""
    data: dict[str, Any] = load(GPULAB / "lab/commands.yml")
    return data


def environment(stack: Stack, *, cpu: bool) -> dict[str, str]:
    """The environment of every step: always, on a CPU, in this stack."""
    added = additions()["env"]
    own = {k: filled(v, {"tools": str(TOOLS)}) for k, v in additions()["stacks"].get(stack.name, {}).items()}
    return {**added["always"], **(added["cpu"] if cpu else {}), **own}


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


def filled(word: str, values: Mapping[str, str]) -> str:
    """`word` with its placeholders replaced; what is not a placeholder (JSON's braces) stays as it is."""
    return PLACEHOLDER.sub(lambda m: values.get(m[0][1:-1], m[0]), word)
