"""What run.json says of a run: one typed model, checked and brought up to date when it is read."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gpulab.common.profile import Profile
from gpulab.inside.resume_files import Taken

SCHEMA: Literal[3] = 3
State = Literal["running", "detached", "done", "failed", "interrupted", "killed"]
RUNNING: State = "running"
DETACHED: State = "detached"  # nobody follows it, and it goes on
GOING = (RUNNING, DETACHED)


def now() -> str:
    """The time as 2026-11-23T06:10:49.123Z."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Model(BaseModel):
    """Every change of a field is checked, too."""

    model_config = ConfigDict(validate_assignment=True, extra="forbid")


class Proof(Model):
    """A proof's phrase, whether it holds, and what was seen."""

    proof: str
    holds: bool
    evidence: str


class StepRecord(Model):
    """One step: its command, how it ended, what it made and proved. `url`: where a server answered."""

    step: str
    state: State = RUNNING
    started: str = ""
    ended: str = ""
    seconds: float = 0
    exit: int | None = None
    argv: list[str] = []
    cwd: str = ""
    env: dict[str, str] = {}
    log: str = ""
    url: str | None = None
    metrics: dict[str, Any] = {}
    peaks: dict[str, float] = {}
    artefacts: list[dict[str, Any]] = []
    proofs: list[Proof] = []
    taken_over_from: str | None = None


class Verdict(Model):
    """How a run and each of its steps were judged."""

    state: State
    failures: list[str]
    states: dict[str, State]
    proofs: dict[str, list[Proof]]


class RunRecord(Model):
    """One run: what was asked for, where it ran, its steps, how it ended."""

    schema_version: Literal[3] = 3
    run: str
    state: State = RUNNING
    lab: str
    title: str
    curriculum: str
    profile: Profile
    model: str = ""
    """The one of the lab's models that it ran with; none in a rehearsal."""
    why: str
    started: str
    ended: str = ""
    argv: list[str]
    settings: dict[str, dict[str, str]]
    hub: str
    ports: dict[str, int]
    nodes: int
    only: list[str]
    keep_serving: bool = False
    engine: str
    hosts: list[str]
    inventory: str
    job: str | None = None
    login: str = ""
    requeue: bool = False
    stack: dict[str, Any]
    git: dict[str, Any]
    machine: dict[str, Any]
    others: list[dict[str, Any]]
    environment: dict[str, str]
    steps: list[StepRecord] = []
    left_out: dict[str, str] = {}
    metrics: dict[str, dict[str, Any]] = {}
    peaks: dict[str, dict[str, float]] = {}
    failures: list[str] = []
    resumes: str | None = None
    resumed_by: str | None = None
    taken_over: Taken | None = None
    judged_again: str = ""
    """When it was last judged after its end: state, failures and proofs are of then."""
    first_verdict: Verdict | None = None
    """How it was judged when it ended, where it was judged again since."""

    @property
    def verdict(self) -> Verdict:
        """How it stands judged."""
        return Verdict(
            state=self.state, failures=self.failures, states={s.step: s.state for s in self.steps},
            proofs={s.step: s.proofs for s in self.steps},
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """How long its steps took."""
        return sum(step.seconds for step in self.steps)

    @property
    def proofs(self) -> list[Proof]:
        """All that its steps proved, or did not."""
        return [proof for step in self.steps for proof in step.proofs]

    def step(self, name: str) -> StepRecord | None:
        """The step of that name, if it was begun."""
        return next((step for step in self.steps if step.step == name), None)

    def close(self, state: State) -> None:
        """The run is over, and with it every step, wherever between two lines an interrupt came."""
        self.state, self.ended = state, now()
        for step in self.steps:
            step.ended = step.ended or self.ended
            if step.state == RUNNING:
                step.state = state

    def as_data(self) -> dict[str, Any]:
        """Plain data, for JSON; what does not apply is left out."""
        return self.model_dump(mode="json", exclude_none=True)
