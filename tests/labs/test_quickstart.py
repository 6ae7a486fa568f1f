"""The first milestone for real: train, infer, merge, deploy, chat, evaluate, on the CPU with the real ms-swift."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from gpulab.checks.verdict import sha256
from gpulab.common.ports import can_listen
from gpulab.inside.ready import answers
from tests.labs.conftest import ROOT, start

pytestmark = pytest.mark.rehearsal


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One whole run with --keep-serving, its server asked before it was told to stop."""
    lab = start(tmp_path_factory.mktemp("quickstart"), "quickstart", "--json", "--keep-serving")
    said = ""
    for line in lab.process.stderr:
        said += line
        if "serves at http" in line:
            break
    url = next(s["url"] for s in lab.record["steps"] if s["step"] == "serve") if "serves at" in said else ""
    served = bool(url) and answers(url, "tuned", timeout=30)
    lab.process.send_signal(signal.SIGINT)
    code, out, err = lab.finish()
    return {"lab": lab, "code": code, "json": json.loads(out), "said": said + err, "served": served, "url": url}


def step(done, name):
    return next(s for s in done["lab"].record["steps"] if s["step"] == name)


def test_it_ends_well_and_says_so_in_one_json_object(done):
    assert (done["code"], done["json"]["ok"], done["json"]["failures"]) == (0, True, []), done["said"]
    assert done["json"]["state"] == "done"
    assert Path(done["json"]["folder"]) == done["lab"].folder


def test_it_says_in_one_line_that_it_rehearses(done):
    lines = [line for line in done["said"].splitlines() if "rehearsing on the CPU with a tiny twin" in line]
    assert len(lines) == 1
    assert done["lab"].record["profile"] == "cpu"


def test_the_twin_visibly_learns(done):
    before, after = step(done, "before")["metrics"], step(done, "after")["metrics"]
    assert before["exact_match"] < 0.2
    assert after["exact_match"] > 0.9
    assert after["scores"]["general_qa rouge"]["score"] > 0.9 > before["scores"]["general_qa rouge"]["score"]


def test_every_proof_of_every_step_is_on_record_with_its_evidence(done):
    proofs = [p for s in done["lab"].record["steps"] for p in s.get("proofs", [])]
    assert len(proofs) >= 10
    assert all(p["holds"] and p["evidence"] for p in proofs)


def test_with_keep_serving_the_last_server_answers_until_ctrl_c(done):
    assert done["served"]
    assert can_listen(int(done["url"].split(":")[2].split("/")[0])), "stopped afterwards"


def test_the_first_server_was_stopped_before_the_training(done):
    assert step(done, "base")["started"] < step(done, "before")["ended"] < step(done, "train")["started"]
    assert "exact match" in done["said"]


def test_artefacts_are_on_record_with_their_digests(done):
    made = {a["path"]: a for a in step(done, "train")["artefacts"]}
    adapter = done["lab"].folder / "train/last-checkpoint/adapter_model.safetensors"
    entry = made["last-checkpoint/adapter_model.safetensors"]
    assert (entry["bytes"], entry["sha256"]) == (adapter.stat().st_size, sha256(adapter))


def test_the_record_says_where_and_with_what_it_ran(done):
    record = done["lab"].record
    assert {"torch", "ms-swift", "transformers", "evalscope"} <= record["stack"]["packages"].keys()
    assert record["git"]["commit"]
    assert record["machine"]["cores"] >= 1
    assert step(done, "train")["argv"][:2] == ["swift", "sft"]
    assert step(done, "train")["peaks"]["rss_mib"] > 100
    assert step(done, "train")["exit"] == 0


def test_curves_and_script_lie_beside_the_record(done):
    assert (done["lab"].folder / "curves.svg").read_text().startswith("<svg")
    assert (done["lab"].folder / "plan.sh").read_text().startswith("#!/usr/bin/env bash")


def test_runs_and_show_find_it(done):
    env = {"GPULAB_RUNS": str(done["lab"].runs), "PATH": "/usr/bin:/bin"}
    runs = subprocess.run([ROOT / "inv", "runs", "--json"], env=env, capture_output=True, text=True, check=True)
    assert json.loads(runs.stdout)["runs"][0]["run"] == done["lab"].record["run"]
    shown = subprocess.run([ROOT / "inv", "show", "quickstart"], env=env, capture_output=True, text=True, check=True)
    assert "16 of 16 answers right" in shown.stdout
    labs = subprocess.run([ROOT / "inv", "labs", "--json"], env=env, capture_output=True, text=True, check=True)
    row = next(r for r in json.loads(labs.stdout)["labs"] if r["lab"] == "start/quickstart")
    assert (row["here"], row["last"]["state"]) == ("rehearse", "done")
