"""An option of a verb, declared once: its name, what it does, its default, and where its value goes."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Option:
    """One option. The default decides its kind: text, a number, a flag (False), one that may be given again ([]), or
    one that is required and given by its place (None)."""

    name: str
    help: str
    default: Any = ""
    to: str = ""
    """The parameter that gets its value, where that is not the option's name."""
    by_place: bool = False
    """Whether its name may be left out behind the verb: `lock cpu`."""

    def called(self, help: str) -> Option:
        """The same option, with another explanation."""
        return replace(self, help=help)

    @property
    def parameter(self) -> inspect.Parameter:
        """The option as invoke reads it from a signature."""
        default = inspect.Parameter.empty if self.default is None else self.default
        return inspect.Parameter(self.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)


def first(name: str, help: str, to: str = "") -> Option:
    """A required one that is given by its place, without a name."""
    return Option(name, help, default=None, to=to)


def flag(name: str, help: str, to: str = "") -> Option:
    """An option without a value."""
    return Option(name, help, default=False, to=to)


def number(name: str, help: str, default: float = 0) -> Option:
    """An option whose value is a number: a whole one where its default is."""
    return Option(name, help, default=default)


def repeated(name: str, help: str, to: str = "") -> Option:
    """An option that may be given again: its values are a list."""
    return Option(name, help, default=[], to=to)


HOSTS = Option("hosts", "the inventory: gpus.ini")
LIMIT = Option("limit", "only these hosts or groups: gpu1,storage")
TAGS = Option("tags", "only these roles: base,docker_engine")
NODES = number("nodes", "how many nodes the steps that spread run on")
RUN = first("run", "`last`, a lab's name (its last run), or a run as `inv runs` prints it")
STACKS = first("stack", "one stack, or several: cpu,train", to="stacks")
LAB = first("name", "the lab's folder: `quickstart` or `start/quickstart`")
SETTINGS = repeated("set", "step.key=value: a flag for one step's command", to="settings")
SERVER_SETTINGS = SETTINGS.called("key=value: a flag of `swift deploy`")
ONLY = Option("only", "these steps alone, and those that they refer to: ddp,zero3")
MODEL = Option("model", "one of the lab's models, and not the largest that fits: ./inv labs NAME has them")
ENGINE = Option(
    "engine", "local (the stack's venv), docker (its image; usual on hosts) or slurm (a job in the hosts' queue)"
)
HUB = Option("hub", "where real models come from: modelscope or hf", default="modelscope")
REGISTRY = Option("registry", "its address: registry.example:5000")
