"""Did a step do what it claims? `makes`: the artefacts are there, whole and not empty. `proves`: see proofs.py."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.plan import Command, Plan
from gpulab.proofs import Finished, prove


@dataclass
class Judgement:
    """What a step made and proved, as the record keeps it, and in a line each what it failed to."""

    artefacts: list[dict[str, Any]]
    proofs: list[dict[str, Any]]
    failures: list[str]


def judge(command: Command, plan: Plan, log: Path) -> Judgement:
    """Look at what a finished step left."""
    found, missing = artefacts(command)
    made, unproven = proofs(command, plan, log)
    return Judgement(found, made, missing + unproven)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def artefacts(command: Command) -> tuple[list[dict[str, Any]], list[str]]:
    """(what `makes` promised and is there: path, bytes, sha256; what is missing or empty, in a line each)."""
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    for promised in command.makes:
        files = [f for f in sorted(command.out.glob(promised)) if f.is_file()]
        files += [
            f for d in sorted(command.out.glob(promised)) if d.is_dir() for f in sorted(d.rglob("*")) if f.is_file()
        ]
        if not files or not any(f.stat().st_size for f in files):
            missing.append(f"{command.step} ended well but made no {promised}")
        found += [
            {"path": str(f.relative_to(command.out)), "bytes": f.stat().st_size, "sha256": sha256(f)} for f in files
        ]
    return found, missing


def proofs(command: Command, plan: Plan, log: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """(each proof with its evidence, the failed ones in a line each)."""
    finished = Finished(out=command.out, log=log, run=plan.run, model=plan.model)
    made, failed = [], []
    for phrase in command.proves:
        holds, evidence = prove(phrase, finished)
        made.append({"proof": phrase, "holds": holds, "evidence": evidence})
        if not holds:
            failed.append(f"{command.step} does not prove «{phrase}»: {evidence}")
    return made, failed
