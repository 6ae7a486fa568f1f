"""`rehearse` of lab.yaml, by step: it may also say a case's name, or that of a step of each case."""

from __future__ import annotations

from pathlib import Path

from gpulab.common.errors import nearest
from gpulab.common.yamlfile import fault
from gpulab.lab import check
from gpulab.lab.cases import Expanded
from gpulab.lab.written import LabFile, Rehearsal, Rehearse


def by_step(path: Path, written: LabFile, made: Expanded) -> Rehearse:
    """The rehearsal of every step, the more exact name above the other: a step of each case, a case, the step itself.

    A case's flags are for its main step, what is impossible is so for all of its steps.
    """
    found: dict[str, Rehearsal] = {}
    given = written.rehearse.steps
    for name, own in sorted(given.items(), key=lambda item: (item[0] in made.steps, item[0] in written.cases)):
        steps = [name] if name in made.steps else made.groups.get(name)
        if not steps:
            known = [*made.steps, *made.groups]
            raise fault(path, ["rehearse", name], f"no step {name!r} to rehearse", nearest(name, known))
        for step in steps if own.impossible or name not in written.cases else steps[:1]:
            found[step] = own.over(found.get(step, Rehearsal()))
        check.overrides(path, ["rehearse", name], made.steps[steps[0]].argv, own)
    rest = {name: getattr(written.rehearse, name) for name in Rehearse.model_fields}
    return Rehearse.model_validate({**rest, **found})
