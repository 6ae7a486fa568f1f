"""The twins that stand for a lab's models in a rehearsal: where each lies, and the command that makes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.common.paths import CACHE, ROOT
from gpulab.inside import twins
from gpulab.lab.lab import Lab

PROGRAM = ROOT / "gpulab/inside/twins"
TWINS = CACHE / "twins"


@dataclass(frozen=True)
class PlannedTwin:
    """A twin: the step that makes it, of which family, its folder, the file whose language it speaks."""

    step: str
    family: str
    folder: Path
    speaks: Path | None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that makes it, or finds it made."""
        speaks = ("--speaks", str(self.speaks)) if self.speaks else ()
        return ("python", str(PROGRAM), self.family, str(self.folder), *speaks)


def twin_folder(lab: Lab, key: str = "model") -> Path:
    """Where the twin of one of the lab's models lies: named like the real model, under a hash of all that makes it."""
    twin = lab.twin_of(key)
    assert twin, f"{lab.name} has no twin of {key}"  # noqa: S101 (who asks knows)
    speaks = (lab.folder / twin.speaks).read_bytes() if twin.speaks else b""
    made_of = [*(file.read_bytes() for file in twins.sources()), twin.family.encode(), speaks]
    digest = hashlib.sha256(b"\0".join(made_of)).hexdigest()[:12]
    name = (lab.models.get(key) or twin.family).split("/")[-1]
    return TWINS / digest / name


def planned_twins(lab: Lab) -> dict[str, PlannedTwin]:
    """The twin of each of the lab's models, by the model's placeholder. The first that needs a folder makes it."""
    found = {}
    for key in ("model", *(key for key in lab.models if key != "model")):
        if twin := lab.twin_of(key):
            step = "twin" if key == "model" else f"twin-{key}"
            speaks = lab.folder / twin.speaks if twin.speaks else None
            found[key] = PlannedTwin(step, twin.family, twin_folder(lab, key), speaks)
    return found


def makers(planned: Sequence[PlannedTwin]) -> list[PlannedTwin]:
    """Those whose commands are run: models that share a twin make it once."""
    return list({twin.folder: twin for twin in reversed(planned)}.values())[::-1]
