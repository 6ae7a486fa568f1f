"""A lab's smaller models: what is refused, which one a GPU gets, and that what they say of memory is enough."""

from __future__ import annotations

import pytest

from gpulab.common.errors import UsageError
from gpulab.hosts import compute_node
from gpulab.lab.lab import find_lab, lab_names, load_lab
from gpulab.lab.written import Needs
from gpulab.plan.machine import Gpu, Machine
from gpulab.records.record import RunRecord
from gpulab.reports.labs_by_gpu import labs_on
from gpulab.runs.dry import dry
from gpulab.runs.preview import show_plan
from gpulab.runs.request import LabRequest
from gpulab.runs.resolve import choose_profile, resolve
from gpulab.runs.spec import RunSpec

AT_8 = "needs: {gpus: 1, vram_gib: 8}\n"
HALF, TENTH = "Org/Tiny-0.5B", "Org/Tiny-100M"
SMALLER = f"smaller:\n  - {{model: {HALF}, vram_gib: 4}}\n  - {{model: {TENTH}, vram_gib: 2}}\n"
MISTAKES = {
    "another family": ((HALF, "Org/Small-0.5B"), 8, "another family than Org/Tiny-1B", "Org/Tiny-*"),
    "no size": ((HALF, "Org/Tiny"), 8, "another family", "Org/Tiny-*"),
    "a larger one": ((HALF, "Org/Tiny-2B"), 8, "Org/Tiny-2B is no smaller than Org/Tiny-1B", "the largest first"),
    "the smallest first": ((TENTH, "Org/Tiny-0.6B"), 9, "no smaller than Org/Tiny-0.5B", "the largest first"),
    "as much memory": (("vram_gib: 4", "vram_gib: 8"), 8, "no less memory than Org/Tiny-1B: 8 GiB", "./inv plan"),
    "a misspelt key": (("vram_gib: 4", "vram: 4"), 8, "unknown key 'smaller.0.vram'", "vram_gib"),
    "no GPU": (("gpus: 1, vram", "gpus: 0, vram"), 7, "a lab with a model and GPUs", ""),
    "a model that tells no size": (("model: Org/Tiny-1B", "model: Org/Tiny"), 5, "Org/Tiny tells no size", ""),
}


def machine(*free: float) -> Machine:
    gpus = [Gpu("a card", gib, gib, f"GPU-{number}") for number, gib in enumerate(free)]
    return Machine("host", "Debian", "a CPU", 8, 64.0, "3.11", gpus)


@pytest.fixture
def lab(write_lab):
    """A lab with two smaller models."""
    return load_lab(write_lab((AT_8, AT_8 + SMALLER)))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_smaller_model_is_named_with_file_and_line(write_lab, mistake):
    replacement, line, message, cure = MISTAKES[mistake]
    with pytest.raises(UsageError) as caught:
        load_lab(write_lab((AT_8, AT_8 + SMALLER), replacement))
    assert f"lab.yaml:{line}: " in caught.value.message, caught.value.message
    assert message in caught.value.message
    assert cure in caught.value.cure


@pytest.mark.parametrize(("free", "model"), [(24, "Org/Tiny-1B"), (8, "Org/Tiny-1B"), (7.6, HALF), (2, TENTH)])
def test_a_gpu_gets_the_largest_model_that_fits_and_is_told_which(lab, free, model):
    fitted, profile, why = choose_profile(lab, [machine(free)], rehearse=False)
    assert (fitted.model, profile) == (model, "gpu")
    assert why.startswith(f"running {model} ")
    assert ("as written Org/Tiny-1B with 8 GiB" in why) == (model != "Org/Tiny-1B")


def test_of_several_machines_the_smallest_decides(lab):
    assert choose_profile(lab, [machine(24), machine(4)], rehearse=False)[0].model == HALF


@pytest.mark.parametrize("free", [(), (1,)])
def test_a_rehearsal_is_of_the_lab_as_written(lab, free):
    rehearsed, profile, why = choose_profile(lab, [machine(*free)], rehearse=False)
    assert (rehearsed, profile) == (lab, "cpu")
    assert "needs 1 GPU with 2 GiB" in why
    assert f"(for {TENTH}, its smallest model)" in why
    assert why.endswith("a tiny twin of Org/Tiny-1B")


@pytest.mark.parametrize("name", [HALF, "Tiny-0.5B"])
def test_a_model_that_is_asked_for_goes_above_the_largest_that_fits(lab, monkeypatch, name):
    monkeypatch.setattr("gpulab.runs.spec.this_machine", lambda: machine(24))
    monkeypatch.setattr("gpulab.runs.resolve.free_port", lambda port, **_: port)
    monkeypatch.setattr("gpulab.runs.resolve.choose_engine", lambda *_, **__: None)
    spec = resolve(LabRequest("tiny", model=name))
    assert (spec.lab.model, spec.lab.needs.vram_gib) == (HALF, 4)
    assert "as asked" in spec.why


def test_a_model_that_is_asked_for_is_never_swapped_for_a_twin(lab, monkeypatch):
    monkeypatch.setattr("gpulab.runs.spec.this_machine", lambda: machine(3))
    with pytest.raises(UsageError, match=r"with Tiny-0\.5B: the lab needs 1 GPU with 4 GiB, here: a card \(3 GiB free"):
        resolve(LabRequest("tiny", model="Tiny-0.5B"))
    with pytest.raises(UsageError, match="exclude each other"):
        LabRequest("tiny", model=HALF, rehearse=True)


def test_a_misspelt_model_is_told_the_nearest(lab):
    with pytest.raises(UsageError, match=r"has no model 'Tiny-0\.4B'") as caught:
        LabRequest("tiny", model="Tiny-0.4B").lab()
    assert "Tiny-0.5B" in caught.value.cure


def test_the_script_has_the_model_that_fits(lab, monkeypatch, runs):
    monkeypatch.setattr("gpulab.runs.spec.this_machine", lambda: machine(5))
    assert f"--model {HALF}" in dry(LabRequest("tiny")).data["plan"]


def test_a_run_goes_on_with_the_model_that_it_ran_with(lab, monkeypatch):
    monkeypatch.setattr("gpulab.runs.spec.this_machine", lambda: machine(5))
    record = resolve(LabRequest("tiny")).record("start-tiny/1")
    assert record.model == HALF
    monkeypatch.setattr("gpulab.runs.spec.this_machine", lambda: machine(80))
    assert RunSpec.again(RunRecord.model_validate(record.as_data()), "goes on").lab.model == HALF


def test_a_record_of_a_rehearsal_names_no_model(lab, monkeypatch):
    monkeypatch.setattr("gpulab.runs.spec.this_machine", machine)
    assert resolve(LabRequest("tiny")).record("start-tiny/1").model == ""


def test_hosts_with_the_memory_for_a_smaller_model_are_found_where_there_are_no_better(monkeypatch):
    class Node:
        def __init__(self, gib):
            self.machine, self.ahead = machine(gib), 0.0

    monkeypatch.setattr(compute_node, "load_hosts", lambda *_: [4, 1, 5])
    monkeypatch.setattr(compute_node, "ask_compute_nodes", lambda hosts, *_: [Node(gib) for gib in hosts])
    monkeypatch.setattr(compute_node, "refuse_no_fabric", lambda _: None)
    at_8, at_4 = Needs(gpus=1, vram_gib=8), Needs(gpus=1, vram_gib=4)
    found = compute_node.find_compute_nodes(at_8, "gpus.ini", "", 2, less=[at_4])
    assert [node.machine.gpus[0].free_gib for node in found] == [4, 5]


def test_a_plan_is_of_the_model_that_the_gpus_get(lab):
    assert show_plan("tiny", vram_gib=5).data["model"] == HALF
    assert show_plan("tiny", vram_gib=80).data["model"] == "Org/Tiny-1B"
    assert show_plan("tiny", vram_gib=80, model=TENTH).data["model"] == TENTH


def test_labs_by_gpu_name_the_model_that_fits(lab, write_lab, monkeypatch):
    write_lab(("gpus: 1", "gpus: 2"), name="start/two")
    monkeypatch.setattr("gpulab.reports.labs.lab_names", lambda: ["start/tiny", "start/two"])
    assert [(row["runs"], row["model"]) for row in labs_on("5").data["labs"]] == [("smaller", HALF), ("no", "")]
    assert [row["runs"] for row in labs_on("2x8").data["labs"]] == ["as written", "as written"]


@pytest.mark.parametrize("gpu", ["twelve", "0", "0x8", "-4", "8GB", "2x"])
def test_what_is_no_gpu_is_refused(gpu):
    with pytest.raises(UsageError, match=f"--gpu {gpu}: not GiB"):
        labs_on(gpu)


WITH_GPUS = [name for name in lab_names() if find_lab(name).needs.gpus]
SIZES = [(name, size.model) for name in WITH_GPUS if (found := find_lab(name)).smaller for size in found.sizes]
SIZES += [(name, "") for name in WITH_GPUS if not find_lab(name).smaller]


@pytest.mark.parametrize(("name", "model"), SIZES)
def test_each_lab_and_each_of_its_models_is_given_the_memory_that_the_planner_estimates(name, model):
    lab = find_lab(name).of_model(model) if model else find_lab(name)
    nodes = lab.needs.nodes if lab.needs.nodes > 1 else 0
    planned = show_plan(name, model=model, gpus=lab.needs.gpus, nodes=nodes, vram_gib=lab.needs.vram_gib)
    assert planned.failures == []
