"""Labs of other families than a language model: their twins learn, and a head that stands still is seen."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.rehearsal, pytest.mark.usefixtures("shared")]


def test_a_head_that_was_never_trained_is_seen(lab):
    run = lab("seq-cls", "--rehearse", "--only", "bert", "--set", "bert.learning_rate=0")
    code, out, err = run.finish()
    assert code == 1, out + err
    step = next(s for s in run.record["steps"] if s["step"] == "bert")
    proofs = {p["proof"]: p["holds"] for p in step["proofs"]}
    assert step["exit"] == 0, "the command itself ended well"
    assert proofs["args say task_type=seq_cls"] and not proofs["heads trained beside lora"]
