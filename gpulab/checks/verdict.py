"""Did a step do what it claims? `makes`: the artefacts are there, whole and not empty. `proves`: see proofs/."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpulab.checks.proofs import Finished, prove


@dataclass(frozen=True)
class Question:
    """What of a finished step is to be judged: its folder and log, what it promised, the run's other steps, how many
    processes were to train."""

    step: str
    out: Path
    log: Path
    run: Path
    model: str
    makes: tuple[str, ...]
    proves: tuple[str, ...]
    world: int = 1

    def to_json(self) -> str:
        """As text, for a judge elsewhere."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Question:
        """What `to_json` wrote."""
        given = json.loads(text)
        paths = {name: Path(given[name]) for name in ("out", "log", "run")}
        return cls(**{**given, **paths, "makes": tuple(given["makes"]), "proves": tuple(given["proves"])})


@dataclass
class Judgement:
    """What a step made and proved, as the record keeps it, and in a line each what it failed to."""

    artefacts: list[dict[str, Any]]
    proofs: list[dict[str, Any]]
    failures: list[str]


def judge(question: Question) -> Judgement:
    """Look at what a finished step left."""
    found, missing = artefacts(question)
    made, unproven = proofs(question)
    return Judgement(found, made, missing + unproven)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def artefacts(asked: Question) -> tuple[list[dict[str, Any]], list[str]]:
    """(what `makes` promised and is there: path, bytes, sha256; what is missing or empty, in a line each)."""
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    for promised in asked.makes:
        files = [f for f in sorted(asked.out.glob(promised)) if f.is_file()]
        files += [
            f for d in sorted(asked.out.glob(promised)) if d.is_dir() for f in sorted(d.rglob("*")) if f.is_file()
        ]
        if not files or not any(f.stat().st_size for f in files):
            missing.append(f"{asked.step} ended well but made no {promised}")
        found += [
            {"path": str(f.relative_to(asked.out)), "bytes": f.stat().st_size, "sha256": sha256(f)} for f in files
        ]
    return found, missing


def proofs(asked: Question) -> tuple[list[dict[str, Any]], list[str]]:
    """(each proof with its evidence, the failed ones in a line each)."""
    finished = Finished(out=asked.out, log=asked.log, run=asked.run, model=asked.model, world=asked.world)
    made, failed = [], []
    for phrase in asked.proves:
        holds, evidence = prove(phrase, finished)
        made.append({"proof": phrase, "holds": holds, "evidence": evidence})
        if not holds:
            failed.append(f"{asked.step} does not prove «{phrase}»: {evidence}")
    return made, failed
