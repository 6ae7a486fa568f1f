"""Labs of several ranks: what each rank holds and takes, and one result whoever starts them."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.rehearsal, pytest.mark.usefixtures("shared")]


def test_every_way_over_several_ranks_shares_out_what_it_says(lab):
    run = lab("multi-gpu", "--json")
    code, out, err = run.finish(600)
    assert code == 0, out + err[-2000:]
    assert set(run.record["left_out"]) == {"device-map", "ddp-device-map"}
    held = {
        way: [json.loads(f.read_text()) for f in sorted(run.folder.glob(f"{way}/ranks/*.json"))]
        for way in ("ddp", "zero2", "zero3", "fsdp2", "sequence-parallel")
    }
    shares = {
        way: {name: {r[name] for r in ranks} for name in ("parameters_held", "states_held", "tokens_taken")}
        for way, ranks in held.items()
    }
    whole = {"parameters_held": {1.0}, "states_held": {1.0}, "tokens_taken": {1.0}}
    half = pytest.approx(0.5, abs=0.05)
    assert shares["ddp"] == whole
    assert list(shares["zero2"]["states_held"]) == [half] and shares["zero2"]["parameters_held"] == {1.0}
    for way in ("zero3", "fsdp2"):
        assert list(shares[way]["parameters_held"]) == list(shares[way]["states_held"]) == [half]
    assert list(shares["sequence-parallel"]["tokens_taken"]) == [half]


def test_launchers_start_the_same_training_as_ms_swift_itself(lab):
    run = lab("multi-node", "--only", "torchrun,accelerate,ray", "--json")
    code, out, err = run.finish(600)
    assert code == 0, out + err[-2000:]
    assert [s["step"] for s in run.record["steps"]] == ["twin", "single", "torchrun", "accelerate"]
    assert "an address each" in run.record["left_out"]["ray"], "both nodes are this machine"
    weights = {
        json.loads(f.read_text())["weights"]
        for way in ("torchrun", "accelerate")
        for f in run.folder.glob(f"{way}/ranks/*.json")
    }
    assert len(weights) == 1, "two launchers, two ranks each, one result"
