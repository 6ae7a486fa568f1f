"""A lab as a job with the real ms-swift: three nodes that train as one, after the scenarios with the stand-in."""

import json
from pathlib import Path

import pytest

from tests.testbed.conftest import Lab
from tests.testbed.jobs import NODES, Inv, finish, well
from tests.testbed.paths import REPO
from tests.testbed.stack_images import built, give

pytestmark = pytest.mark.rehearsal
ALL = ("head", *NODES)


@pytest.fixture
def cluster(slurm_cluster: Lab) -> Lab:
    """The controller runs jobs, too, as a small team may want it; all have the stack's real image, also where a
    stand-in was."""
    slurm_cluster.bed.sh("head", "usermod --append --groups docker lab")
    slurm_cluster.converged("--tags", "slurm", "--extra-vars", json.dumps({"slurm_nodes": ALL}))
    give(slurm_cluster.bed, ALL, built("cpu"))
    well(slurm_cluster.bed, ALL)
    return slurm_cluster


def test_three_nodes_of_a_job_train_as_one(cluster: Lab, tmp_path: Path) -> None:
    """The lab train/multi-node, started by itself and by torchrun; proven in the job. Four samples on each node."""
    inv = Inv(cluster, tmp_path / "runs", REPO / "labs")
    words = ("--only", "swift,torchrun", "--nodes", "3", "--rehearse", "--set", "single.gradient_accumulation_steps=3")
    code, out = finish(inv.lab(*words, name="multi-node"), timeout=600)
    assert code == 0, out
    steps = {step["step"]: step for step in inv.record["steps"]}
    assert list(steps) == ["twin", "single", "swift", "torchrun"]
    for name in ("swift", "torchrun"):
        evidence = {proof["proof"]: proof["evidence"] for proof in steps[name]["proofs"] if proof["holds"]}
        assert evidence["every rank took part"] == "3 ranks on 3 nodes over gloo"
        assert "the same weights on 3 ranks" in evidence["ranks hold the same weights"]
        assert {json.loads(f.read_text())["host"] for f in (inv.folder / name / "ranks").iterdir()} == set(ALL)
        assert steps[name]["peaks"]["rss_mib"] > 0, "what the nodes use is on record"
