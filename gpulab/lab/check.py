"""What is checked of a lab when it is read: the first thing wrong is named with file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from gpulab.checks.proofs import PROOFS, find
from gpulab.common import redact
from gpulab.common.errors import nearest
from gpulab.common.paths import ROOT, shown
from gpulab.common.yamlfile import fault, load_mapping
from gpulab.inside.twins import families
from gpulab.lab import flags
from gpulab.lab.cases import Expanded, Place
from gpulab.lab.names import wrong_name
from gpulab.lab.step import GIVEN, RANK, Step
from gpulab.lab.written import LabFile, Rehearsal, Rehearse
from gpulab.stacks.stack import load_stacks

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OWN_FILE = re.compile(r"[^/{}:][^{}:]*\.(ya?ml|jsonl?|py|txt|csv|parquet)")  # relative: a file of the lab's folder
MADE = ("--output_file", "--result-filename")  # name what a step makes, and not what it reads
TOOLS, COMMON = "{tools}/", "../../common/"
INSIDE = ROOT / "gpulab/inside"


def stack(path: Path, lab: LabFile) -> None:
    """The stack is there, and those that it is rehearsed in, which are for a CPU."""
    stacks = load_stacks()
    if lab.stack not in stacks:
        raise fault(path, ["stack"], f"no stack {lab.stack!r}", nearest(lab.stack, list(stacks)))
    cpu = [name for name, one in stacks.items() if one.pins.torch == "cpu"]
    asked: list[tuple[Place, str | None]] = [(["rehearse"], lab.rehearse.stack)]
    asked += [(["rehearse", name], own.stack) for name, own in lab.rehearse.steps.items()]
    for place, name in asked:
        if name is not None and name not in cpu:
            wrong = f"no stack {name!r} for a CPU"
            raise fault(path, [*place, "stack"], wrong, f"take one of {', '.join(cpu)}")


def names(path: Path, lab: LabFile, made: Expanded) -> None:
    """Every step, every case and every step of each case has a name that means nothing else; so has every model."""
    spreads, given = {name: step.spread for name, step in made.steps.items()}, {key for key, _ in GIVEN}
    for name in lab.models:
        if why := wrong_name(name, {}, given):
            raise fault(path, ["models", name], f"no model can be called {name!r}: {why}", "take another name")
    placeholders = {*given, *lab.models}
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
    for flag, value in own.flags.items():
        for word in flags.written(value):
            _own_file(path, [*where, flag], word)
    _environment(path, [*where, "env"], own.env)


def rehearsal(path: Path, lab: LabFile, made: Expanded, rehearse: Rehearse) -> None:
    """The twin's file is there, and no step refers to one that may be left out."""
    _twin(path, ["rehearse", "twin"], rehearse.twin)
    _file(path, ["rehearse", "speaks"], rehearse.speaks)
    for key, twin in rehearse.twins.items():
        place: Place = ["rehearse", "twins", key]
        if key not in lab.models:
            raise fault(path, place, f"no model {key!r} to have a twin", nearest(key, list(lab.models)))
        _twin(path, place, twin.family)
        _file(path, [*place, "speaks"], twin.speaks)
    for name, step in made.steps.items():
        for needed in sorted(set(step.refers).intersection(made.steps)):
            if _may_lack(step, made.steps[needed]) or (
                rehearse.of(needed).impossible and not rehearse.of(name).impossible
            ):
                wrong = f"step {name} refers to {needed}, which may be left out"
                raise fault(path, made.places[name], wrong, "refer to another")


def _twin(path: Path, where: Place, family: str | None) -> None:
    if family is not None and family not in families():
        raise fault(path, where, f"no family of twins {family!r}", f"take one of {', '.join(families())}")


def _file(path: Path, where: Place, name: str | None) -> None:
    if name is not None and not (path.parent / name).is_file():
        raise fault(path, where, f"no file {name}", f"put it into {shown(path.parent)}")


def _may_lack(step: Step, needed: Step) -> bool:
    """Whether a machine may run the step and leave out what it needs."""
    return needed.gpus > step.gpus or (needed.apart and not step.apart)


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
        elif key in lab.models and part in (None, "name"):
            continue
        elif (key, part) not in GIVEN:
            known = [*earlier, *lab.models, *(f"{k}.{p}" if p else k for k, p in GIVEN)]
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
    for before, word in pairwise(argv):
        if before not in MADE:
            _own_file(path, where, word)
    if file := flags.config(argv):
        config = folder / file
        data = load_mapping(config)
        flags.check(argv, {k: v for k, v in data.items() if k != "ENV"}, config, [])
        _secrets(config, [], data)
        for flag, value in data.items():
            for word in flags.written(value):
                _own_file(config, [flag], word)


def _own_file(path: Path, where: Place, word: str) -> None:
    """A word that is the name of a file, `#640` for so many of its rows behind it, names one that is there and that is
    sent to hosts and containers with the lab."""
    name, folder = word.partition("#")[0], path.parent
    if name.startswith(TOOLS) and "}" not in name.removeprefix(TOOLS):
        if not (INSIDE / name.removeprefix(TOOLS)).is_file():
            tools = [f.name for f in INSIDE.glob("*.py")]
            raise fault(path, where, f"no file {name}", nearest(name.removeprefix(TOOLS), tools))
    elif not OWN_FILE.fullmatch(name):
        return
    elif not (folder / name).is_file():
        near = [str(f.relative_to(folder)) for f in sorted(folder.rglob(f"*{Path(name).suffix}"))]
        raise fault(path, where, f"no file {name}", _near_file(name, near) or f"put it into {shown(folder)}")
    elif not (folder / name).resolve().is_relative_to(folder.resolve()) and not name.startswith(COMMON):
        raise fault(path, where, f"{name} lies outside of the lab", f"put it into the lab, or into {COMMON}")


def _near_file(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else ""


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
        near = nearest(phrase, list(PROOFS))
        cure = near if near.startswith("did you mean") else f"known: {'; '.join(sorted(PROOFS))}"
        raise fault(path, where, f"no proof {phrase!r}", cure)
    step = found[1].get("step")
    if step is not None and step not in earlier:
        raise fault(path, where, f"{phrase!r} refers to {step!r}, which is no earlier step", nearest(step, earlier))
