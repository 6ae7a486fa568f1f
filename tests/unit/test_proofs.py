"""Every proof is fed a run in which the feature was active, and one in which it was off and exit was 0 all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpulab.checks.proofs import PROOFS, Finished, find, prove
from gpulab.checks.registry import proof
from gpulab.checks.verdict import Question, judge
from tests.finished_runs import BASE, BF16, Build, full, lora, save
from tests.proof_cases import by_subject

SUBJECTS = by_subject()
CASES = {phrase: cases for each in SUBJECTS.values() for phrase, cases in each.items()}


def finished(tmp_path: Path, build: list[Build]) -> Finished:
    (tmp_path / "step").mkdir()
    save(tmp_path / "base/model.safetensors", BASE)
    for piece in build:
        piece(tmp_path)
    return Finished(tmp_path / "step", tmp_path / "step.log", tmp_path, str(tmp_path / "base"), world=2)


def test_a_norm_that_bfloat16_rounds_to_what_it_was_is_no_frozen_weight(tmp_path: Path) -> None:
    moved = {"model.q.weight": BF16["model.q.weight"] + np.uint16(1), "model.norm.weight": BF16["model.norm.weight"][0]}
    holds, evidence = prove("all weights trained", finished(tmp_path, [full(moved)]))
    assert holds, evidence
    assert "1 vectors in bfloat16 are as they were" in evidence


@pytest.mark.parametrize("phrase", CASES)
def test_a_proof_holds_when_the_feature_was_active(tmp_path, phrase):
    holds, evidence = prove(phrase, finished(tmp_path, CASES[phrase][0]))
    assert holds, evidence
    assert evidence


@pytest.mark.parametrize(("phrase", "number"), [(p, n) for p, (_, off) in CASES.items() for n in range(len(off))])
def test_a_proof_fails_when_the_feature_was_off(tmp_path, phrase, number):
    holds, evidence = prove(phrase, finished(tmp_path, CASES[phrase][1][number]))
    assert not holds
    assert evidence


def test_a_torn_checkpoint_is_no_evidence(tmp_path):
    done = finished(tmp_path, [lora()])
    file = done.out / "last-checkpoint/adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    assert prove("adapter moved", done)[0] is False


@pytest.mark.parametrize("subject", SUBJECTS)
def test_cases_stand_in_a_file_named_like_the_proofs(subject):
    proofs = [found[0] for phrase in SUBJECTS[subject] if (found := find(phrase))]
    assert {proof.__module__ for proof in proofs} == {f"gpulab.checks.{subject}"}


def test_no_proof_is_without_its_cases():
    assert {found[0] for phrase in CASES if (found := find(phrase))} == set(PROOFS.values())


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), TypeError("not a\n number"), AttributeError()]
)
def test_a_proof_that_breaks_fails_with_what_it_met_and_the_others_are_asked(tmp_path, monkeypatch, error):
    def breaks(finished: Finished) -> str:
        raise error

    monkeypatch.setitem(PROOFS, "it breaks", breaks)
    monkeypatch.setitem(PROOFS, "it holds", lambda finished: "seen")
    asked = Question("train", tmp_path, tmp_path / "log", tmp_path, "model", (), ("it breaks", "it holds"))
    judgement = judge(asked)
    assert [made["holds"] for made in judgement.proofs] == [False, True]
    (failure,) = judgement.failures
    assert f"could not be decided: {type(error).__name__}: " in failure
    assert len(failure.splitlines()) == 1


TAKEN = ["loss falls", "exact match above chat", "exact match at least 1%", "same answers as STEP to N%"]


@pytest.mark.parametrize("phrase", TAKEN)
def test_two_proofs_under_one_phrase_are_refused(phrase, monkeypatch):
    monkeypatch.setattr("gpulab.checks.registry.PROOFS", dict(PROOFS))
    with pytest.raises(ValueError, match="two proofs under one phrase"):
        proof(phrase)(lambda finished: "seen")


def test_a_proof_whose_phrase_would_answer_anothers_is_refused(monkeypatch):
    monkeypatch.setattr("gpulab.checks.registry.PROOFS", dict(PROOFS))
    with pytest.raises(ValueError, match="two proofs under one phrase"):
        proof("loss STEP")(lambda finished, step: "seen")
