"""Is the driver new enough for a stack's CUDA? Each CUDA release says the oldest (docker/stacks.yml, node:)."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.version import Version

from gpulab.common.errors import UsageError
from gpulab.common.paths import STACKS_YML
from gpulab.common.yamlfile import load
from gpulab.plan.machine import Machine
from gpulab.stacks.resolver import versions
from gpulab.stacks.stack import Stack, load_stacks

RUNTIME = "nvidia-cuda-runtime"


def cuda_of(stack: Stack) -> str | None:
    """The CUDA release that a stack's lock brings, as `13`; of several the newest, None without CUDA."""
    locked = versions(stack.lock.read_text(encoding="utf-8")) if stack.lock.is_file() else {}
    majors = [int(version.split(".")[0]) for name, version in locked.items() if name.startswith(RUNTIME)]
    return str(max(majors)) if majors else None


def refuse_old_driver(stack: Stack, machines: Sequence[Machine]) -> None:
    """Raise UsageError where a machine's driver is too old for the stack's CUDA, naming the stacks that would fit."""
    needs: dict[str, str] = load(STACKS_YML)["node"]["cuda_needs_driver"]
    oldest = needs.get(cuda_of(stack) or "")
    if not oldest:
        return
    for machine in machines:
        if machine.driver and Version(machine.driver) < Version(oldest):
            fit = [
                name for name, other in load_stacks().items()
                if (cuda := cuda_of(other)) and Version(needs.get(cuda, "9999")) <= Version(machine.driver)
            ]  # fmt: skip
            raise UsageError(
                f"{machine.hostname} has driver {machine.driver}, "
                f"CUDA {cuda_of(stack)} of the stack {stack.name} needs {oldest}",
                "update it: ./inv provision --hosts gpus.ini --tags nvidia_driver --reboot"
                + (f"; stacks that run on this driver: {', '.join(fit)}" if fit else "; no stack runs on this driver"),
            )
