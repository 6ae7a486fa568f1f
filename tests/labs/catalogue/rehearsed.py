"""Labs that one process a step can rehearse. The quickstart has tests of its own, as have labs of several ranks."""

from __future__ import annotations

import json
from typing import Any

from gpulab.common.paths import LABS
from gpulab.lab.lab import Lab, lab_names, load_lab


def alone(lab: Lab) -> bool:
    """Whether it can be rehearsed in the stack that most are, which this machine has, with one process a step."""
    steps = lab.steps.values()
    stacks = {lab.rehearse.stack, *(own.stack or "cpu" for own in lab.rehearse.steps.values())}
    here = stacks == {"cpu"} and not lab.rehearse.impossible
    return here and not any(step.spread or (step.processes or 1) > 1 for step in steps)


CATALOGUE = [lab for name in lab_names() if name != "start/quickstart" and alone(lab := load_lab(LABS / name))]
TRAIN = [lab for lab in CATALOGUE if lab.name.startswith("train/")]
OTHERS = [lab for lab in CATALOGUE if lab not in TRAIN]


def proves_itself(lab: Any, tried: Lab) -> None:
    """Rehearse it (`lab` starts an inv lab): it ends well, and each of its proofs holds."""
    run = lab(tried.name, "--rehearse", "--json")
    code, out, err = run.finish()
    assert code == 0, json.loads(out)["failures"] + [err[-2000:]]
    assert all(proof["holds"] for step in run.record["steps"] for proof in step.get("proofs", []))
