"""A step: one real command, what it makes, what it proves; and what its line may leave open."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gpulab.checks.proofs import find
from gpulab.inside.layout import AXES
from gpulab.lab import presets

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_-]*)(?:\.([a-z]+))?\}")
GIVEN = {("model", None), ("model", "name"), ("lab", None), ("out", None), ("port", None), ("tools", None)}
GIVEN |= {("layout", axis) for axis in AXES}
# How a group of processes is laid out: how many nodes, processes on each, and in all.
GROUP = ("nnodes", "processes", "world")
# What one node of it is told. A step that says these to a launcher is not told by environment, too.
RANK = ("node_rank", "master_addr", "master_port")
GIVEN |= {(name, None) for name in (*GROUP, *RANK)}


class Strict(BaseModel):
    """An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ready(Strict):
    """When a server is ready: it answers a real chat completion as model `chat`, `within` so many seconds."""

    chat: str
    within: float = Field(180, gt=0, le=1_000_000)


class Step(Strict):
    """One real command. With `ready` it is a server: it runs on until no later step refers to it.

    `processes` is how many ranks it has on a node (ms-swift's NPROC_PER_NODE); with `spread` it runs on every node, one
    process group over all of them, and with `apart` each node needs an address of its own: two on one machine do not
    do. `gpus` is how many it needs on a node, where that is more than the lab needs: with fewer it is left out.
    `makes` and `proves` may name presets.
    """

    run: str
    makes: list[str] = []
    proves: list[str] = []
    env: dict[str, str] = {}
    ready: Ready | None = None
    processes: int | None = Field(None, ge=1, le=1024)
    spread: bool = False
    apart: bool = False
    gpus: int = Field(0, ge=0, le=1024)

    _makes = field_validator("makes", mode="before")(presets.of("makes"))
    _proves = field_validator("proves", mode="before")(presets.of("proves"))

    @model_validator(mode="after")
    def _no_spread_server(self) -> Step:
        if self.spread and self.ready:
            raise ValueError("a server runs on one node: `spread` and `ready` exclude each other")
        return self

    @field_validator("run")
    @classmethod
    def _one_command(cls, run: str) -> str:
        try:
            words = shlex.split(run)
        except ValueError as error:
            raise ValueError(f"cannot be split into words ({error})") from None
        if not words or set(words) & {"|", "&&", "||", ";", ">", "<", "&"}:
            raise ValueError("one command without shell operators")
        return run

    @field_validator("makes")
    @classmethod
    def _below_the_step(cls, makes: list[str]) -> list[str]:
        for pattern in makes:
            parts = PurePosixPath(pattern).parts
            if not parts or parts[0] == "/" or ".." in parts or any("**" in part and part != "**" for part in parts):
                raise ValueError(f"{pattern!r} is no pattern of files below the step's folder")
        return makes

    @property
    def argv(self) -> list[str]:
        """The command's words, placeholders still in them."""
        return shlex.split(self.run)

    @property
    def placeholders(self) -> list[tuple[str, str | None]]:
        """What its line leaves to the plan: (key, part) of each."""
        return [(key, part or None) for key, part in PLACEHOLDER.findall(self.run)]

    @property
    def refers(self) -> list[str]:
        """What its line and its proofs refer to: among it, other steps."""
        proven = [found[1].get("step") for phrase in self.proves if (found := find(phrase))]
        return [*(key for key, _ in self.placeholders), *filter(None, proven)]

    @property
    def launched(self) -> bool:
        """Whether a launcher in its line starts the ranks, and not ms-swift itself."""
        return any(key in RANK for key, _ in self.placeholders)


def filled(text: str, names: Mapping[str, str]) -> str:
    """`text` with other names in its placeholders, `{train.url}`'s part kept; the others stay as they are."""
    return PLACEHOLDER.sub(lambda m: m[0].replace(m[1], names[m[1]], 1) if m[1] in names else m[0], text)
