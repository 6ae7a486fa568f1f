"""`--set`: flags for single steps, above all others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpulab.common import redact
from gpulab.common.errors import UsageError, nearest
from gpulab.lab import flags

if TYPE_CHECKING:
    from gpulab.lab.lab import Lab


def parse_settings(settings: Sequence[str], lab: Lab) -> dict[str, dict[str, str]]:
    """`step.key=value` words as flags by step. A case's name stands for the first of its steps that knows the flag, the
    name of a step of `each` for that of every case. Raises UsageError for an unknown step or flag."""
    parsed: dict[str, dict[str, str]] = {}
    for setting in settings:
        # No message has the value in it: it may be a secret under a misspelt name.
        match = re.fullmatch(r"([\w-]+)\.([\w-]+)=(.*)", setting, re.DOTALL)
        if not match:
            begins = redact.text(re.split(r"[^\w.-]", setting)[0])
            raise UsageError(f"--set {begins}: not step.key=value", f"for example --set {next(iter(lab.steps))}.seed=1")
        step, key, value = match.groups()
        name = f"--set {redact.text(step)}.{redact.text(key)}"
        steps = lab.called(step)
        if not steps:
            raise UsageError(f"{name}: {lab.name} has no step {step!r}", nearest(step, lab.names))
        knowing = [each for each in steps if not flags.unknown(lab.steps[each].argv, key)]
        for each in knowing or steps[:1]:
            check_setting(name, lab.steps[each].argv, key, value)
        for each in knowing[:1] if step in lab.cases else knowing:
            parsed.setdefault(each, {})[key] = value
    return parsed


def check_setting(name: str, argv: Sequence[str], key: str, value: str) -> None:
    """Raise UsageError for a flag that the command of `argv` does not know, or not with that value, or a secret."""
    if wrong := flags.unknown(argv, key) or flags.impossible(argv, key, value):
        raise UsageError(f"{name}: {wrong[0]}", wrong[1])
    if redact.is_secret(key):
        raise UsageError(f"{name}: {key} is a secret", "put it into the environment, not into ps")
    if redact.text(value) != value:
        raise UsageError(
            f"{name}: a secret is in its value (a password in an address, or what a variable holds)",
            "leave it out there, and give it by the environment or a file: records and ps show settings",
        )
