"""Labs are data: two more, with no Python written for them; and plan.sh alone reproduces a run."""

from __future__ import annotations

import json
import subprocess

import pytest

from gpulab.inside.answers import answers_in

pytestmark = pytest.mark.rehearsal


def test_tuners_are_compared_in_one_table(lab):
    run = lab("tuners")
    code, out, err = run.finish()
    assert code == 0, out + err
    table = (run.folder / "comparison.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[2:5] for line in table.splitlines() if line.startswith("| ")}
    lora, dora, full = (float(cell) for cell in rows["trainable parameters (M)"])
    assert lora < dora < full
    assert "last loss" in out, "the table is printed too"


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


def test_transformers_inference_and_its_plan_sh_reproduces_it(lab, tmp_path):
    run = lab("infer/transformers")
    code, out, err = run.finish()
    assert code == 0, out + err
    again = tmp_path / "again"
    done = subprocess.run(["bash", run.folder / "plan.sh", again], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert answers_in(again / "batch") == answers_in(run.folder / "batch") != []


def test_a_step_named_dpo_that_trains_by_another_algorithm_is_seen(lab):
    run = lab("preferences", "--only", "train-dpo", "--set", "dpo.rlhf_type=cpo")
    code, out, err = run.finish()
    assert code == 1, out + err
    step = next(s for s in run.record["steps"] if s["step"] == "train-dpo")
    proofs = {p["proof"]: p["holds"] for p in step["proofs"]}
    assert proofs.pop("args say rlhf_type=dpo") is False and proofs.pop("loss starts at 0.6931") is False
    assert all(proofs.values()), "the command itself ended well, and trained"
