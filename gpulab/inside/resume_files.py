"""What a run takes over of the one that it resumes: steps that are done, and the last whole checkpoint of the one that
broke. Carried out where the files are: `python -m gpulab.inside.resume_files < REQUEST` prints what was taken, both as
JSON.

Files are linked, which costs nothing and outlives the old run's folder; where that can't be, copied.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gpulab.inside.answers import rows
from gpulab.inside.checkpoints import checkpoints, search, step_of
from gpulab.inside.metrics import step_counter


@dataclass(frozen=True)
class Part:
    """A step: what it had made, with bytes, where it was done (else None); how many processes train in it; whether
    its command can go on from a checkpoint."""

    step: str
    made: list[dict[str, Any]] | None
    world: int
    resumes: bool


@dataclass
class Taken:
    """The steps that were taken over whole, and whether by `link` or `copy`; the `next` one, the folder's name of the
    checkpoint that it goes on from, the newer ones that are torn, and what is gone of it where it was done before.
    """

    steps: list[str] = field(default_factory=list)
    by: str = "link"
    next: str = ""
    checkpoint: str = ""
    torn: list[tuple[str, str]] = field(default_factory=list)
    lost: str = ""


@dataclass(frozen=True)
class ResumeRequest:
    """From which run's folder to which, and the steps in their order."""

    old: Path
    new: Path
    parts: tuple[Part, ...]

    def to_json(self) -> str:
        """As text, to be carried out elsewhere."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> ResumeRequest:
        """What `to_json` wrote."""
        given = json.loads(text)
        return cls(Path(given["old"]), Path(given["new"]), tuple(Part(**part) for part in given["parts"]))

    def carry_out(self) -> Taken:
        """Take over what is whole, up to the first step that is not done."""
        taken = Taken()
        for part in self.parts:
            out = self.old / part.step
            if part.made is not None:
                taken.lost = next((m["path"] for m in part.made if not _is_as_made(out, m)), "")
                if not taken.lost:
                    taken.by = min(taken.by, bring(out, self.new / part.step))  # one copy is named
                    taken.steps.append(part.step)
                    continue
            taken.next = part.step
            if part.resumes:
                found = search(out, part.world)
                taken.torn = found.torn
                if found.whole:
                    taken.checkpoint = found.whole.name
                    taken.by = min(taken.by, _begin_again(out, self.new / part.step, found.whole))
            break
        return taken


def bring(old: Path, new: Path) -> str:
    """Make a file or folder there as it is here; `link`, or `copy` where it could not be linked."""
    how = "link"

    def one(source: str, goal: str) -> None:
        nonlocal how
        try:
            os.link(source, goal, follow_symlinks=False)
        except OSError:  # another file system, or one without links, or another user's file
            how = "copy"
            shutil.copy2(source, goal, follow_symlinks=False)

    if old.is_dir():
        shutil.copytree(old, new, symlinks=True, copy_function=one, dirs_exist_ok=True)
    elif old.is_file():
        one(str(old), str(new))
    return how


def _begin_again(old: Path, new: Path, checkpoint: Path) -> str:
    """A training's folder as it was after a checkpoint: ms-swift goes on writing where it left off."""
    new.mkdir(parents=True, exist_ok=True)
    kept = [f for f in checkpoints(checkpoint.parent) if step_of(f) <= step_of(checkpoint)]
    how = min(bring(folder, new / folder.name) for folder in kept)
    (new / "last-checkpoint").symlink_to(checkpoint.name)
    if (old / "logging.jsonl").is_file():
        lines = []
        for row in rows(old / "logging.jsonl"):
            if (counter := step_counter(row)) and counter[0] > step_of(checkpoint):
                break
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        (new / "logging.jsonl").write_text("".join(lines), encoding="utf-8")
    return how


def _is_as_made(out: Path, made: dict[str, Any]) -> bool:
    file = out / made["path"]
    return file.is_file() and bool(file.stat().st_size == made["bytes"])


def main() -> None:
    """Read the resume_request, print what was taken."""
    print(json.dumps(asdict(ResumeRequest.from_json(sys.stdin.read()).carry_out())))


if __name__ == "__main__":
    main()
