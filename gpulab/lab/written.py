"""lab.yaml as it is written: cases not yet expanded."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gpulab.common.errors import nearest
from gpulab.lab import presets
from gpulab.lab.step import Step, Strict

Flags = dict[str, Any]


def _one_line(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise ValueError("one line, without a line break in it")
    return text.strip()


Line = Annotated[str, AfterValidator(_one_line)]


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


class Smaller(Strict):
    """A smaller model for a GPU with less memory, and about how much it takes on each GPU in GiB."""

    model: str
    vram_gib: float = Field(gt=0, le=100_000)


class Rehearsal(BaseModel):
    """How one step is rehearsed, only what differs: flags, environment, how many ranks (`processes`), the `stack` where
    it is not the one of the lab's rehearsal. `impossible` says why it is left out.

    A preset's name stands for its flags; `preset: NAME` beside flags is one with some of them changed.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    env: dict[str, str] = {}
    processes: Annotated[int | None, Field(ge=1, le=64)] = None
    stack: str | None = None
    impossible: Line | None = None

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        known = presets.known()["rehearse"]
        name = given if isinstance(given, str) else given.get("preset") if isinstance(given, dict) else None
        if name is None:
            return given
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"no preset {name!r}: {nearest(str(name), list(known))}")
        own = given if isinstance(given, dict) else {}
        return {**known[name], **{k: v for k, v in own.items() if k != "preset"}}

    @property
    def flags(self) -> Flags:
        """The flags that differ."""
        return dict(self.model_extra or {})

    def over(self, other: Rehearsal) -> Rehearsal:
        """This one above another: what it says goes."""
        said = {**other.flags, **self.flags}
        ranks, why = self.processes or other.processes, self.impossible or other.impossible
        env, stack = {**other.env, **self.env}, self.stack or other.stack
        return Rehearsal(env=env, processes=ranks, stack=stack, impossible=why, **said)


class Twin(Strict):
    """What stands for a model in a rehearsal: a family of `gpulab/inside/twins`; the jsonl file whose language it
    speaks, with its facts wrong."""

    family: str
    speaks: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_family_alone(cls, given: Any) -> Any:
        return {"family": given} if isinstance(given, str) else given


class Rehearse(BaseModel):
    """The `cpu` profile, only what differs: the twin, and each step's own. `impossible` says why there is none."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Rehearsal]
    stack: str = "cpu"
    twin: str | None = None
    speaks: str | None = None
    twins: dict[str, Twin] = {}  # of the lab's other models, where theirs differs from that of `model`
    impossible: Line | None = None

    @property
    def steps(self) -> dict[str, Rehearsal]:
        """By step, where anything differs; in the file also by case, and by the name of a step of each case."""
        return dict(self.__pydantic_extra__)

    def of(self, step: str) -> Rehearsal:
        """How that step is rehearsed."""
        return self.steps.get(step) or Rehearsal()


class CaseStep(BaseModel):
    """What one case adds to a step: flags, proofs, environment."""

    model_config = ConfigDict(extra="allow", frozen=True)
    proves: Annotated[list[str], BeforeValidator(presets.of("proves"))] = []
    env: dict[str, str] = {}

    @property
    def flags(self) -> Flags:
        """The flags."""
        return dict(self.model_extra or {})


def _list_of_one(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _all_cases(given: Any) -> Any:
    return ["cases"] if given == "cases" else given


class Break(Strict):
    """Settings with which the lab's feature is off: its commands end well, and a proof fails, the one that `fails`
    names or any other."""

    settings: Annotated[list[str], BeforeValidator(_list_of_one)] = Field(alias="set", min_length=1)
    fails: Line | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_setting_alone(cls, given: Any) -> Any:
        return {"set": [given]} if isinstance(given, str) else given

    def __str__(self) -> str:
        """The settings, as they are typed behind --set."""
        return " ".join(self.settings)


class LabFile(Strict):
    """lab.yaml."""

    title: Line
    upstream: str
    curriculum: str
    stack: str
    model: str | None = None
    models: dict[str, str] = Field(default_factory=dict)  # further ones: {teacher} in a line is models.teacher
    needs: Needs
    smaller: list[Smaller] = Field(default_factory=list)  # of its family, the largest first
    steps: dict[str, Step] = Field(default_factory=dict)
    cases: dict[str, CaseStep] = Field(default_factory=dict)
    each: dict[str, Step] = Field(default_factory=dict)
    compare: Annotated[list[str], BeforeValidator(_all_cases)] = Field(default_factory=list)
    figures: list[Line] = Field(default_factory=list)  # of logging.jsonl, for table and curves: rewards/margins
    breaks: list[Break] = Field(default_factory=list)
    rehearse: Rehearse

    @model_validator(mode="after")
    def _has_steps(self) -> LabFile:
        if not self.steps and not self.each:
            raise ValueError("a lab needs at least one step")
        if bool(self.cases) != bool(self.each):
            raise ValueError("`cases` and `each` need each other: `each` has the steps of every case")
        return self
