"""Lab: steps, needs, artefacts and proofs, read from labs/<chapter>/<lab>/lab.yaml."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from gpulab.checks.proofs import PROOFS, find
from gpulab.common import redact
from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import LABS, shown
from gpulab.common.yamlfile import fault, load_as, load_mapping
from gpulab.inside.layout import AXES
from gpulab.inside.twins import families
from gpulab.lab import flags
from gpulab.lab.names import wrong_name
from gpulab.stacks.stack import load_stacks

Flags = dict[str, Any]
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_-]*)(?:\.([a-z]+))?\}")
OWN_FILE = re.compile(r"[^/{}:][^{}:]*\.(ya?ml|jsonl?|py|txt|csv)")  # relative: a file of the lab's folder
GIVEN = {("model", None), ("model", "name"), ("lab", None), ("out", None), ("port", None), ("tools", None)}
GIVEN |= {("layout", axis) for axis in AXES}
# How a group of processes is laid out: how many nodes, processes on each, and in all.
GROUP = ("nnodes", "processes", "world")
# What one node of it is told. A step that says these to a launcher is not told by environment, too.
RANK = ("node_rank", "master_addr", "master_port")
GIVEN |= {(name, None) for name in (*GROUP, *RANK)}


def _one_line(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise ValueError("one line, without a line break in it")
    return text.strip()


Line = Annotated[str, AfterValidator(_one_line)]


class Strict(BaseModel):
    """An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Needs(Strict):
    """What the `gpu` profile needs: nodes, on each of them GPUs, VRAM on each and free disk in GiB; about how long it
    takes in minutes."""

    nodes: int = Field(1, ge=1, le=10_000)
    gpus: int = Field(0, ge=0, le=1024)
    vram_gib: float = Field(0, ge=0, le=100_000)
    disk_gib: float = Field(2, ge=0, le=1_000_000)
    minutes: float = Field(10, gt=0, le=1_000_000)

    def __str__(self) -> str:
        """In a few words: `2 nodes, 1 GPU, 8 GiB`."""
        nodes = f"{self.nodes} nodes, " if self.nodes > 1 else ""
        gpus = f"{self.gpus} GPU{'s' * (self.gpus > 1)}, {self.vram_gib:g} GiB" if self.gpus else "CPU"
        return nodes + gpus


class Ready(Strict):
    """When a server is ready: it answers a real chat completion as model `chat`, `within` so many seconds."""

    chat: str
    within: float = Field(180, gt=0, le=1_000_000)


class Step(Strict):
    """One real command. With `ready` it is a server: it runs on until no later step refers to it.

    `processes` is how many ranks it has on a node (ms-swift's NPROC_PER_NODE); with `spread` it runs on every node, one
    process group over all of them, and with `apart` each node needs an address of its own: two on one machine do not
    do. `gpus` is how many it needs on a node, where that is more than the lab needs: with fewer it is left out.
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


class Rehearsal(BaseModel):
    """How one step is rehearsed, only what differs: flags, environment. `impossible` says why it is left out."""

    model_config = ConfigDict(extra="allow", frozen=True)
    env: dict[str, str] = {}
    impossible: Line | None = None

    @property
    def flags(self) -> Flags:
        """The flags that differ."""
        return dict(self.model_extra or {})


class Rehearse(BaseModel):
    """The `cpu` profile, only what differs: the twin, and each step's own. `impossible` says why there is none."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Rehearsal]
    twin: str | None = None
    speaks: str | None = None  # a jsonl file of the lab: the twin speaks its language and has its facts wrong
    impossible: Line | None = None

    @property
    def steps(self) -> dict[str, Rehearsal]:
        """By step, where anything differs."""
        return dict(self.__pydantic_extra__)

    def of(self, step: str) -> Rehearsal:
        """How that step is rehearsed."""
        return self.steps.get(step) or Rehearsal()


class LabFile(Strict):
    """lab.yaml."""

    title: Line
    upstream: str
    curriculum: str
    stack: str
    model: str | None = None
    needs: Needs
    steps: dict[str, Step]
    compare: list[str] = []
    rehearse: Rehearse

    @model_validator(mode="after")
    def _has_steps(self) -> LabFile:
        if not self.steps:
            raise ValueError("a lab needs at least one step")
        return self


class Lab(LabFile):
    """A lab and its folder."""

    folder: Path

    @property
    def name(self) -> str:
        """`chapter/lab`, from its folder."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def slug(self) -> str:
        """`chapter-lab`, the name of its folder of runs."""
        return self.name.replace("/", "-")

    def only(self, names: Sequence[str]) -> Lab:
        """The lab with these steps alone and those that they refer to; as it is where none are named.

        Raises UsageError for an unknown step.
        """
        for name in names:
            if name not in self.steps:
                raise UsageError(f"{self.name} has no step {name!r}", nearest(name, list(self.steps)))
        kept: set[str] = set()
        left = list(names or self.steps)
        while left:
            name = left.pop()
            kept.add(name)
            left += [n for n in self.steps[name].refers if n in self.steps and n not in kept]
        steps = {name: step for name, step in self.steps.items() if name in kept}
        return self.model_copy(update={"steps": steps, "compare": [n for n in self.compare if n in kept]})

    @property
    def file(self) -> Path:
        """Its lab.yaml."""
        return self.folder / "lab.yaml"


def lab_names() -> list[str]:
    """Every lab as `chapter/lab`. The folders are the registry."""
    return sorted(f"{f.parent.parent.name}/{f.parent.name}" for f in LABS.glob("*/*/lab.yaml"))


def find_lab(name: str) -> Lab:
    """The lab named `lab` or `chapter/lab`; a name that several chapters have is train's, if it is one of them.

    Raises UsageError with the nearest names.
    """
    names = lab_names()
    found = [n for n in names if name.strip("/") in (n, n.split("/")[1])]
    found = [n for n in found if n.startswith("train/")] or found
    if len(found) > 1:
        raise UsageError(f"{name!r} is the name of {len(found)} labs", f"say which: {' or '.join(found)}")
    if not found:
        raise UsageError(f"no lab {name!r}", nearest(name, [*names, *(n.split("/")[1] for n in names)]))
    return load_lab(LABS / found[0])


def load_lab(folder: Path) -> Lab:
    """Read and check `folder`/lab.yaml. Raises UsageError with file and line for the first thing wrong."""
    path = folder / "lab.yaml"
    lab = Lab(folder=folder, **dict(load_as(LabFile, path)))
    if lab.stack not in (stacks := load_stacks()):
        raise fault(path, ["stack"], f"no stack {lab.stack!r}", nearest(lab.stack, list(stacks)))
    spreads, placeholders = {name: step.spread for name, step in lab.steps.items()}, {key for key, _ in GIVEN}
    for name in lab.steps:
        if why := wrong_name(name, spreads, placeholders):
            raise fault(path, ["steps", name], f"no step can be called {name!r}: {why}", "take another name")
    earlier: dict[str, Step] = {}
    for name, step in lab.steps.items():
        _check_placeholders(lab, name, step, earlier)
        _check_config(lab, name, step)
        _check_environment(path, ["steps", name, "env"], step.env)
        for number, phrase in enumerate(step.proves):
            _check_phrase(phrase, path, ["steps", name, "proves", number], list(earlier))
        earlier[name] = step
    for name, overrides in lab.rehearse.steps.items():
        if name not in lab.steps:
            raise fault(path, ["rehearse", name], f"no step {name!r} to rehearse", nearest(name, list(lab.steps)))
        flags.check(lab.steps[name].argv, overrides.flags, path, ["rehearse", name])
        _check_flags(path, ["rehearse", name], overrides.flags)
        _check_environment(path, ["rehearse", name, "env"], overrides.env)
    if lab.rehearse.twin is not None and lab.rehearse.twin not in families():
        cure = f"take one of {', '.join(families())}"
        raise fault(path, ["rehearse", "twin"], f"no family of twins {lab.rehearse.twin!r}", cure)
    if lab.rehearse.speaks is not None and not (folder / lab.rehearse.speaks).is_file():
        raise fault(path, ["rehearse", "speaks"], f"no file {lab.rehearse.speaks}", f"put it into {shown(folder)}")
    for name, step in lab.steps.items():
        optional = [n for n, s in earlier.items() if s.gpus or s.apart or lab.rehearse.of(n).impossible]
        if needed := set(step.refers).intersection(optional):
            where = ["steps", name]
            raise fault(path, where, f"step {name} refers to {needed.pop()}, which may be left out", "refer to another")
    for name in set(lab.compare) - set(lab.steps):
        raise fault(path, ["compare"], f"no step {name!r} to compare", nearest(name, list(lab.steps)))
    return lab


def _check_placeholders(lab: Lab, name: str, step: Step, earlier: dict[str, Step]) -> None:
    where = ["steps", name, "run"]
    for key, part in step.placeholders:
        if key in lab.steps:
            if key == name:
                raise fault(lab.file, where, f"step {name} refers to itself", "its own folder is {out}")
            if key not in earlier:
                raise fault(
                    lab.file, where, f"step {name} refers to the later step {key}", "only earlier steps are known"
                )
            if part is not None and (part not in ("url", "port") or not earlier[key].ready):
                raise fault(lab.file, where, f"{{{key}.{part}}} is not known", "a server has .url and .port")
        elif (key, part) not in GIVEN:
            known = [*earlier, *(f"{k}.{p}" if p else k for k, p in GIVEN)]
            raise fault(
                lab.file, where, f"unknown placeholder {{{key}{'.' + part if part else ''}}}", nearest(key, known)
            )
        elif key in RANK and not step.spread:
            raise fault(lab.file, where, f"{{{key}}} is only known to a step that spreads", "add `spread: true`")
        elif key == "model" and not lab.model:
            raise fault(lab.file, where, "{model} is used, but the lab names none", "add `model: ORG/NAME`")


def _check_config(lab: Lab, name: str, step: Step) -> None:
    """A step's ms-swift YAML exists and knows only ms-swift's own flags; so do the flags on its command line."""
    where = ["steps", name, "run"]
    argv = step.argv
    flags.check(argv, flags.given(argv), lab.file, where)
    _check_flags(lab.file, where, flags.given(argv))
    for word in argv[1:]:
        if OWN_FILE.fullmatch(word) and not (lab.folder / word).is_file():
            raise fault(lab.file, where, f"no file {word}", f"put it into {shown(lab.folder)}")
    if file := flags.config(argv):
        config = lab.folder / file
        data = load_mapping(config)
        flags.check(argv, {k: v for k, v in data.items() if k != "ENV"}, config, [])
        _check_flags(config, [], data)


def _check_flags(path: Path, where: Sequence[str | int], given: Mapping[str, Any]) -> None:
    """Raise UsageError with file and line for a flag with a secret: a lab is read by many, and so are its records."""
    for flag, value in given.items():
        words = [] if value is None else flags.written(value)
        if redact.deep({flag: words}, known=False)[flag] != words:
            raise fault(path, [*where, flag], f"--{flag} holds a secret", "put it into the environment, and not here")


def _check_environment(path: Path, where: Sequence[str | int], env: Mapping[str, str]) -> None:
    """Raise UsageError with file and line for what is no name or text of a variable, and for a secret."""
    for name, value in env.items():
        if not NAME.fullmatch(name):
            raise fault(path, [*where, name], f"{name!r} is no name of a variable", "letters, digits and _")
        if redact.deep({name: value}, known=False)[name] != value:
            raise fault(path, [*where, name], f"{name} holds a secret", "set it in your shell, and not here")


def _check_phrase(phrase: str, path: Path, where: Sequence[str | int], earlier: list[str]) -> None:
    """Raise UsageError with file and line where lab.yaml asks for a proof that there is none of."""
    found = find(phrase)
    if not found:
        raise fault(path, where, f"no proof {phrase!r}", nearest(phrase, list(PROOFS)))
    step = found[1].get("step")
    if step is not None and step not in earlier:
        raise fault(path, where, f"{phrase!r} refers to {step!r}, which is no earlier step", nearest(step, earlier))
