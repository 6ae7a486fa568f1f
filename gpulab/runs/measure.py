"""A measurement of an endpoint: a run of one step, with a record like any lab's."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS
from gpulab.engines import choose_engine
from gpulab.lab.lab import Lab
from gpulab.lab.step import Step
from gpulab.lab.written import Needs, Rehearse
from gpulab.plan.machine import this_machine
from gpulab.plan.plan import TOOLS
from gpulab.runs.endpoint import Endpoint
from gpulab.runs.execute import begin
from gpulab.runs.request import HUBS
from gpulab.runs.spec import RunSpec
from gpulab.stacks.stack import load_stack

STACK = "eval"
CLIENT = ["python", str(TOOLS / "evalscope_client.py")]


@dataclass(frozen=True, kw_only=True)
class Measurement(Lab):
    """A lab that stands in no lab.yaml. `of` in its name keeps it apart from the labs: `inv serve quickstart` is not to
    find what measured quickstart."""

    kind: str
    of: str

    @property
    def name(self) -> str:
        """`eval/of-NAME`."""
        return f"{self.kind}/of-{re.sub(r'[^A-Za-z0-9_.-]+', '-', self.of)}"


def measure(
    kind: str, title: str, asked: Endpoint, words: Sequence[str], *, makes: str, proves: str, env: dict[str, str],
    hub: str = HUBS[0],
) -> Outcome:  # fmt: skip
    """Carry out EvalScope's `words` against the endpoint."""
    step = {"run": shlex.join([*CLIENT, *words]), "makes": [makes], "proves": [proves], "env": env}
    lab = Measurement(
        kind=kind, of=asked.name, folder=LABS / "common" / "data", title=title, upstream="", curriculum="", stack=STACK,
        models={}, needs=Needs.model_validate({"disk_gib": 0.2}), rehearse=Rehearse.model_validate({}),
        steps={kind: Step.model_validate(step)},
    )  # fmt: skip
    machine, stack = this_machine(), load_stack(STACK)
    spec = RunSpec(
        lab=lab, profile="cpu" if asked.here and not machine.gpus else "gpu", why=asked.about, stack=stack,
        engine=choose_engine("", stack), compute_nodes=[], machines=[machine], inventory="", nodes=1, hub=hub,
    )  # fmt: skip
    return begin(spec).carry_out()


def benchmarks() -> list[str]:
    """The names that EvalScope has for `--datasets`, of its own index: to ask EvalScope takes five seconds."""
    stack = load_stack(STACK)
    stack.ensure()
    [index] = stack.venv.glob("lib/python*/site-packages/evalscope/benchmarks/_index.json")
    return list(json.loads(index.read_text(encoding="utf-8")))
