"""`cases` and `each` of lab.yaml: one topic's variants as data, made into steps when the lab is read.

A step of `each` becomes one for each case, `STEP-CASE`; in it `{STEP}` is the same case's, `{case}` its name.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from gpulab.checks.registry import with_step
from gpulab.common.yamlfile import fault, validated
from gpulab.lab import flags
from gpulab.lab.step import Step, filled
from gpulab.lab.written import CaseStep, LabFile

TRAINING = {f"{program} {command}" for program in ("swift", "megatron") for command in ("sft", "pt", "rlhf")}
Place = list[str | int]


@dataclass
class Expanded:
    """A lab's steps in order; the steps behind the name of a case or of a step of each case, the one that such a name
    means first of all being the first; where in the file each step, and each proof of one, stands."""

    steps: dict[str, Step] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    proofs: dict[tuple[str, str], Place] = field(default_factory=dict)

    def add(self, name: str, step: Step, place: Place) -> None:
        """One more step."""
        self.steps[name] = step
        self.places[name] = place

    def place(self, step: str, phrase: str) -> Place:
        """Where a proof of a step stands."""
        return self.proofs.get((step, phrase), [*self.places[step], "proves", phrase])


def expand(path: Path, lab: LabFile) -> Expanded:
    """All steps of a lab. Raises UsageError with file and line for a case that can't be."""
    made = Expanded()
    for name, step in lab.steps.items():
        made.add(name, step, ["steps", name])
    if not lab.cases:
        return made
    for name in (*lab.cases, *lab.each):
        kind = "cases" if name in lab.cases else "each"
        if name in lab.steps or (name in lab.cases and name in lab.each):
            raise fault(path, [kind, name], f"two things are called {name!r}", "a case and a step need their own names")
    first = main_step(lab.each)
    for case, own in lab.cases.items():
        _case(path, lab, case, own, first, made)
    for name in lab.each:
        made.groups[name] = [f"{name}-{case}" for case in lab.cases]
    return made


def main_step(each: dict[str, Step]) -> str:
    """The step that a case's own flags and proofs are for: the first that trains, else the first of ms-swift's."""
    commands = {name: flags.command(step.argv) for name, step in each.items()}
    trains = (name for name, command in commands.items() if command in TRAINING)
    swifts = (name for name, command in commands.items() if command)
    return next(trains, None) or next(swifts, None) or next(iter(each))


def _case(path: Path, lab: LabFile, case: str, own: CaseStep, first: str, made: Expanded) -> None:
    names = {name: f"{name}-{case}" for name in lab.each}
    parts: dict[str, tuple[CaseStep, Place]] = {
        name: (validated(CaseStep, own.flags[name], path, ["cases", case, name]), ["cases", case, name])
        for name in lab.each
        if name in own.flags
    }
    main = CaseStep(proves=own.proves, env=own.env, **{k: v for k, v in own.flags.items() if k not in lab.each})
    for name, step in lab.each.items():
        adds: list[tuple[CaseStep, Place]] = [(main, ["cases", case])] if name == first else []
        adds += [parts[name]] if name in parts else []
        made.add(names[name], _step(path, case, step, names, adds), ["each", name])
        for add, place in adds:
            for phrase in add.proves:
                made.proofs[names[name], with_step(phrase, names)] = [*place, "proves", phrase]
        for phrase in step.proves:
            made.proofs.setdefault((names[name], with_step(phrase, names)), ["each", name, "proves", phrase])
    made.groups[case] = [names[first], *(made_of for name, made_of in names.items() if name != first)]


def _step(path: Path, case: str, step: Step, names: dict[str, str], adds: list[tuple[CaseStep, Place]]) -> Step:
    argv, env, proves = step.argv, dict(step.env), list(step.proves)
    for add, place in adds:
        flags.check(argv, add.flags, path, place)
        argv = flags.with_flags(argv, add.flags)
        env |= add.env
        proves += [phrase for phrase in add.proves if phrase not in proves]
    run = shlex.join(filled(word, names).replace("{case}", case) for word in argv)
    env = {key: filled(value, names).replace("{case}", case) for key, value in env.items()}
    return step.model_copy(update={"run": run, "env": env, "proves": [with_step(p, names) for p in proves]})
