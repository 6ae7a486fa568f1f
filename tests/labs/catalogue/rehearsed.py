"""Labs that one process a step can rehearse. The quickstart has tests of its own, as have labs of several ranks."""

from __future__ import annotations

import json
from typing import Any

from gpulab.common.paths import LABS
from gpulab.lab.lab import Lab, lab_names, load_lab
from gpulab.runs.rehearse import seen


def alone(lab: Lab, *stacks: str) -> bool:
    """Whether it can be rehearsed in one of these stacks, with one process a step."""
    used = {lab.rehearse.stack, *(own.stack for own in lab.rehearse.steps.values() if own.stack)}
    here = len(used) == 1 and used <= set(stacks) and not lab.rehearse.impossible
    return here and not any(step.spread or (step.processes or 1) > 1 for step in lab.steps.values())


LABS_THERE = [load_lab(LABS / name) for name in lab_names() if name != "start/quickstart"]
CATALOGUE = [lab for lab in LABS_THERE if alone(lab, "cpu")]
OWN_STACKS = [lab for lab in LABS_THERE if alone(lab, "cpu-multimodal", "quant-cpu")]
TRAIN = [lab for lab in CATALOGUE if lab.name.startswith("train/")]
OTHERS = [lab for lab in CATALOGUE if lab not in TRAIN]


def proves_itself(lab: Any, tried: Lab) -> None:
    """Rehearse it (`lab` starts an inv lab): it ends well, and each of its proofs holds."""
    run = lab(tried.name, "--rehearse", "--json")
    code, out, err = run.finish()
    assert code == 0, json.loads(out)["failures"] + [err[-2000:]]
    assert all(proof["holds"] for step in run.record["steps"] for proof in step.get("proofs", []))


def break_is_seen(lab: Any, tried: Lab) -> None:
    """Rehearse it with its first break: it fails, by the proof that the break names."""
    broken = tried.breaks[0]
    words = [word for setting in broken.settings for word in ("--set", setting)]
    run = lab(tried.name, "--rehearse", "--only", ",".join(tried.to_break(broken)), *words)
    code, out, err = run.finish()
    assert code == 1, out + err[-2000:]
    assert seen(run.folder, broken) == []
