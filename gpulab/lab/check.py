"""What is checked of a lab when it is read: the first thing wrong is named with file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpulab.checks.proofs import PROOFS, find
from gpulab.common import redact
from gpulab.common.errors import nearest
from gpulab.common.paths import shown
from gpulab.common.yamlfile import fault, load_mapping
from gpulab.inside.twins import families
from gpulab.lab import flags
from gpulab.lab.cases import Expanded, Place
from gpulab.lab.names import wrong_name
from gpulab.lab.step import GIVEN, RANK, Step
from gpulab.lab.written import LabFile, Rehearsal, Rehearse
from gpulab.stacks.stack import load_stacks

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OWN_FILE = re.compile(r"[^/{}:][^{}:]*\.(ya?ml|jsonl?|py|txt|csv)")  # relative: a file of the lab's folder


def stack(path: Path, lab: LabFile) -> None:
    """The stack is there."""
    if lab.stack not in (stacks := load_stacks()):
        raise fault(path, ["stack"], f"no stack {lab.stack!r}", nearest(lab.stack, list(stacks)))


def names(path: Path, lab: LabFile, made: Expanded) -> None:
    """Every step, every case and every step of each case has a name that means nothing else."""
    spreads, placeholders = {name: step.spread for name, step in made.steps.items()}, {key for key, _ in GIVEN}
    for name in [*made.groups, *made.steps]:
        if why := wrong_name(name, spreads, placeholders):
            place = made.places.get(name) or (["each", name] if name in lab.each else ["cases", name])
            raise fault(path, place, f"no step can be called {name!r}: {why}", "take another name")


def steps(path: Path, lab: LabFile, made: Expanded) -> None:
    """Every step's line, files, flags, environment and proofs."""
    earlier: dict[str, Step] = {}
    for name, step in made.steps.items():
        place = made.places[name]
        _placeholders(path, lab, made, name, earlier)
        _config(path, [*place, "run"], step)
        _environment(path, [*place, "env"], step.env)
        for phrase in step.proves:
            _phrase(phrase, path, made.place(name, phrase), list(earlier))
        earlier[name] = step


def overrides(path: Path, where: Place, argv: Sequence[str], own: Rehearsal) -> None:
    """What a rehearsal changes of a step."""
    flags.check(argv, own.flags, path, where)
    _secrets(path, where, own.flags)
    _environment(path, [*where, "env"], own.env)


def rehearsal(path: Path, made: Expanded, rehearse: Rehearse) -> None:
    """The twin's file is there, and no step refers to one that may be left out."""
    folder = path.parent
    if rehearse.twin is not None and rehearse.twin not in families():
        cure = f"take one of {', '.join(families())}"
        raise fault(path, ["rehearse", "twin"], f"no family of twins {rehearse.twin!r}", cure)
    if rehearse.speaks is not None and not (folder / rehearse.speaks).is_file():
        raise fault(path, ["rehearse", "speaks"], f"no file {rehearse.speaks}", f"put it into {shown(folder)}")
    for name, step in made.steps.items():
        for needed in sorted(set(step.refers).intersection(made.steps)):
            if _may_be_left_out(made.steps[needed]) or (
                rehearse.of(needed).impossible and not rehearse.of(name).impossible
            ):
                wrong = f"step {name} refers to {needed}, which may be left out"
                raise fault(path, made.places[name], wrong, "refer to another")


def _may_be_left_out(step: Step) -> bool:
    return bool(step.gpus or step.apart)


def _placeholders(path: Path, lab: LabFile, made: Expanded, name: str, earlier: Mapping[str, Step]) -> None:
    step, where = made.steps[name], [*made.places[name], "run"]
    for key, part in step.placeholders:
        if key in made.steps:
            if key == name:
                raise fault(path, where, f"step {name} refers to itself", "its own folder is {out}")
            if key not in earlier:
                raise fault(path, where, f"step {name} refers to the later step {key}", "only earlier steps are known")
            if part is not None and (part not in ("url", "port") or not earlier[key].ready):
                raise fault(path, where, f"{{{key}.{part}}} is not known", "a server has .url and .port")
        elif (key, part) not in GIVEN:
            known = [*earlier, *(f"{k}.{p}" if p else k for k, p in GIVEN)]
            wrong = f"{key}{'.' + part if part else ''}"
            raise fault(path, where, f"unknown placeholder {{{wrong}}}", nearest(key, known))
        elif key in RANK and not step.spread:
            raise fault(path, where, f"{{{key}}} is only known to a step that spreads", "add `spread: true`")
        elif key == "model" and not lab.model:
            raise fault(path, where, "{model} is used, but the lab names none", "add `model: ORG/NAME`")


def _config(path: Path, where: Place, step: Step) -> None:
    """A step's ms-swift YAML exists and knows only ms-swift's own flags; so do the flags on its command line."""
    argv, folder = step.argv, path.parent
    flags.check(argv, flags.given(argv), path, where)
    _secrets(path, where, flags.given(argv))
    for word in argv[1:]:
        if OWN_FILE.fullmatch(word) and not (folder / word).is_file():
            raise fault(path, where, f"no file {word}", f"put it into {shown(folder)}")
    if file := flags.config(argv):
        config = folder / file
        data = load_mapping(config)
        flags.check(argv, {k: v for k, v in data.items() if k != "ENV"}, config, [])
        _secrets(config, [], data)


def _secrets(path: Path, where: Sequence[str | int], given: Mapping[str, Any]) -> None:
    """Raise UsageError with file and line for a flag with a secret: a lab is read by many, and so are its records."""
    for flag, value in given.items():
        words = [] if value is None else flags.written(value)
        if redact.deep({flag: words}, known=False)[flag] != words:
            raise fault(path, [*where, flag], f"--{flag} holds a secret", "put it into the environment, and not here")


def _environment(path: Path, where: Sequence[str | int], env: Mapping[str, str]) -> None:
    """Raise UsageError with file and line for what is no name or text of a variable, and for a secret."""
    for name, value in env.items():
        if not VARIABLE.fullmatch(name):
            raise fault(path, [*where, name], f"{name!r} is no name of a variable", "letters, digits and _")
        if redact.deep({name: value}, known=False)[name] != value:
            raise fault(path, [*where, name], f"{name} holds a secret", "set it in your shell, and not here")


def _phrase(phrase: str, path: Path, where: Place, earlier: list[str]) -> None:
    """Raise UsageError with file and line where lab.yaml asks for a proof that there is none of."""
    found = find(phrase)
    if not found:
        raise fault(path, where, f"no proof {phrase!r}", nearest(phrase, list(PROOFS)))
    step = found[1].get("step")
    if step is not None and step not in earlier:
        raise fault(path, where, f"{phrase!r} refers to {step!r}, which is no earlier step", nearest(step, earlier))
