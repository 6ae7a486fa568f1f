"""Lab: steps, needs, artefacts and proofs, read from labs/<chapter>/<lab>/lab.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import LABS
from gpulab.common.yamlfile import fault, load_as
from gpulab.lab import check
from gpulab.lab.cases import Expanded, expand
from gpulab.lab.rehearsals import by_step
from gpulab.lab.settings import parse_settings
from gpulab.lab.sizes import check_sizes
from gpulab.lab.step import Step
from gpulab.lab.written import Break, LabFile, Needs, Rehearse, Smaller, Twin


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab and its folder, every case expanded: `steps` has all of them, `groups` those behind the name of a case or
    of a step of each case, `compare` what stands side by side: a name, and the steps whose figures stand under it;
    `models` by their placeholders, `smaller` those that may take the place of `model`."""

    folder: Path
    title: str
    upstream: str
    curriculum: str
    stack: str
    models: Mapping[str, str]
    needs: Needs
    steps: Mapping[str, Step]
    rehearse: Rehearse
    compare: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cases: Sequence[str] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    breaks: Sequence[Break] = ()
    figures: Sequence[str] = ()
    smaller: Sequence[Smaller] = ()

    @property
    def name(self) -> str:
        """`chapter/lab`, from its folder."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def slug(self) -> str:
        """`chapter-lab`, the name of its folder of runs."""
        return self.name.replace("/", "-")

    @property
    def file(self) -> Path:
        """Its lab.yaml."""
        return self.folder / "lab.yaml"

    @property
    def model(self) -> str | None:
        """Its model, where it has one: {model} in its lines."""
        return self.models.get("model")

    @property
    def sizes(self) -> list[Lab]:
        """The lab with each of its models and what it then needs: as written, then with smaller ones."""
        return [replace(self, smaller=()), *map(self._with, self.smaller)]

    def _with(self, size: Smaller) -> Lab:
        needs = self.needs.model_copy(update={"vram_gib": size.vram_gib})
        return replace(self, models={**self.models, "model": size.model}, needs=needs, smaller=())

    def of_model(self, name: str) -> Lab:
        """The lab with that one of its models, named with or without its organization.

        Raises UsageError where it has no such model.
        """
        by_name = {size.model: size for size in self.sizes if size.model}
        for model, size in by_name.items():
            if name in (model, model.split("/")[-1]):
                return size
        known = [*by_name, *(model.split("/")[-1] for model in by_name)]
        cure = nearest(name, known) if by_name else "it has no model"
        raise UsageError(f"{self.name} has no model {name!r}", cure)

    def twin_of(self, key: str) -> Twin | None:
        """What stands for one of its models in a rehearsal: `rehearse.twins` says, else all have the same."""
        usual = Twin(family=self.rehearse.twin, speaks=self.rehearse.speaks) if self.rehearse.twin else None
        return self.rehearse.twins.get(key, usual)

    @property
    def reads(self) -> dict[str, Path]:
        """The folders that its commands read, by what a host calls them: its own, and `common` beside the chapters,
        which it names `../../common`."""
        common = self.folder.parents[1] / "common"
        return {".lab": self.folder, **({".common": common} if common.is_dir() else {})}

    @property
    def names(self) -> list[str]:
        """What may be said of its steps: their names, those of cases, those of a step of each case."""
        return [*self.steps, *self.groups]

    def called(self, name: str) -> list[str]:
        """The steps of that name: one, those of a case, or the one of each case; none for an unknown name."""
        return [name] if name in self.steps else [step for step in self.groups.get(name, ()) if step in self.steps]

    def only(self, names: Sequence[str]) -> Lab:
        """The lab with these steps alone and those that they refer to; as it is where none are named.

        Raises UsageError for an unknown step.
        """
        for name in names:
            if not self.called(name):
                raise UsageError(f"{self.name} has no step {name!r}", nearest(name, self.names))
        kept: set[str] = set()
        left = [step for name in names for step in self.called(name)] or list(self.steps)
        while left:
            name = left.pop()
            kept.add(name)
            left += [n for n in self.steps[name].refers if n in self.steps and n not in kept]
        steps = {name: step for name, step in self.steps.items() if name in kept}
        compare = {name: [step for step in under if step in kept] for name, under in self.compare.items()}
        return replace(self, steps=steps, compare={name: under for name, under in compare.items() if under})

    def to_break(self, broken: Break) -> list[str]:
        """The steps to run, for --only, to see a break fail: those that it sets, and the first with the proof."""
        steps = list(parse_settings(broken.settings, self))
        if broken.fails is None or any(broken.fails in self.steps[step].proves for step in steps):
            return steps
        after = list(self.steps)[list(self.steps).index(steps[0]) :]
        proven = [step for step in after if broken.fails in self.steps[step].proves]
        about = [step for step in proven if set(steps).intersection(self.only([step]).steps)]
        return [*steps, *(about or proven)[:1]]


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
        raise UsageError(
            f"no lab {name!r}", nearest(name, [*names, *(n.split("/")[1] for n in names)], listed="./inv labs")
        )
    return load_lab(LABS / found[0])


def load_lab(folder: Path) -> Lab:
    """Read and check `folder`/lab.yaml. Raises UsageError with file and line for the first thing wrong."""
    path = folder / "lab.yaml"
    written = load_as(LabFile, path)
    check.stack(path, written)
    check_sizes(path, written)
    made = expand(path, written)
    check.names(path, written, made)
    check.steps(path, written, made)
    rehearse = by_step(path, written, made)
    check.rehearsal(path, written, made, rehearse)
    models = ({"model": written.model} if written.model else {}) | written.models
    lab = Lab(
        folder=folder, title=written.title, upstream=written.upstream, curriculum=written.curriculum,
        stack=written.stack, models=models, needs=written.needs, steps=made.steps, rehearse=rehearse,
        compare=_compared(path, written, made), cases=list(written.cases), groups=made.groups, breaks=written.breaks,
        figures=written.figures, smaller=written.smaller,
    )  # fmt: skip
    for number, broken in enumerate(lab.breaks):
        _check_break(lab, broken, number)
    return lab


def _compared(path: Path, written: LabFile, made: Expanded) -> dict[str, list[str]]:
    """What is compared: a step, all cases, or a name's steps each on its own."""
    compared: dict[str, list[str]] = {}
    for name in written.compare:
        if name == "cases" and written.cases:
            compared |= {case: made.groups[case] for case in written.cases}
        elif name in written.cases:
            compared[name] = made.groups[name]
        elif steps := made.groups.get(name) or ([name] if name in made.steps else []):
            compared |= {step: [step] for step in steps}
        else:
            raise fault(path, ["compare", name], f"no step {name!r} to compare",
                        nearest(name, [*made.steps, *made.groups]))  # fmt: skip
    return compared


def _check_break(lab: Lab, broken: Break, number: int) -> None:
    try:
        parse_settings(broken.settings, lab)
    except UsageError as error:
        raise fault(lab.file, ["breaks", number], error.message.removeprefix("--set "), error.cure) from None
    proofs = list(dict.fromkeys(phrase for step in lab.steps.values() for phrase in step.proves))
    if broken.fails is not None and broken.fails not in proofs:
        raise fault(lab.file, ["breaks", number, "fails"], f"no step proves {broken.fails!r}",
                    nearest(broken.fails, proofs))  # fmt: skip
