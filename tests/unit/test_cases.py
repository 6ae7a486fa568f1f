"""`cases` and `each` of lab.yaml: variants as data, made into steps when the lab is read."""

from __future__ import annotations

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import LABS
from gpulab.lab.lab import lab_names, load_lab
from gpulab.lab.settings import parse_settings
from gpulab.records.record import RunRecord, StepRecord
from gpulab.reports.summary import comparison

CASES = """\
title: A lab of the tests
upstream: examples/none
curriculum: none
stack: cpu
model: Org/Tiny-1B
needs: {gpus: 1}
steps:
  before:
    run: swift infer --model {model}
cases:
  dpo: {rlhf_type: dpo, beta: 0.1, proves: [args say rlhf_type=dpo]}
  kto:
    rlhf_type: kto
    ask: {max_batch_size: 7, proves: [exact match at least 50%]}
each:
  train:
    run: swift rlhf train.yaml --model {model} --beta 0.5
    makes: lora
    proves: [loss falls]
  ask:
    run: swift infer --adapters {train}/last-checkpoint --result_path {out}/{case}.jsonl
    proves: [exact match above before, loss as in train to 5%]
compare: [before, cases]
breaks:
  - dpo.rlhf_type=cpo
  - {set: [train.learning_rate=0, kto.seed=1], fails: exact match above before}
rehearse:
  twin: qwen3
  train: {max_steps: 3, seed: 1}
  kto: {max_steps: 5}
"""


@pytest.fixture
def lab(write_lab):
    """A lab with two cases of two steps."""
    return load_lab(write_lab(text=CASES))


def test_each_step_becomes_one_for_each_case(lab):
    assert list(lab.steps) == ["before", "train-dpo", "ask-dpo", "train-kto", "ask-kto"]
    lines = {name: " ".join(step.argv) for name, step in lab.steps.items()}
    assert lines["train-dpo"] == "swift rlhf train.yaml --model {model} --beta 0.1 --rlhf_type dpo"
    assert lines["train-kto"] == "swift rlhf train.yaml --model {model} --beta 0.5 --rlhf_type kto"
    assert "--adapters {train-kto}/last-checkpoint --result_path {out}/kto.jsonl" in lines["ask-kto"]


def test_a_case_adds_to_the_step_that_trains_and_to_the_one_that_it_names(lab):
    assert lab.steps["train-dpo"].proves == ["loss falls", "args say rlhf_type=dpo"]
    assert lab.steps["train-kto"].proves == ["loss falls"]
    assert lab.steps["ask-dpo"].proves == ["exact match above before", "loss as in train-dpo to 5%"]
    assert lab.steps["ask-kto"].argv[-2:] == ["--max_batch_size", "7"]
    assert lab.steps["ask-kto"].proves[-1] == "exact match at least 50%"


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ("kto", ["before", "train-kto", "ask-kto"]),
        ("train", ["train-dpo", "train-kto"]),
        ("ask-dpo", ["before", "train-dpo", "ask-dpo"]),
    ],
)
def test_only_takes_a_case_a_step_of_each_or_a_step(lab, asked, steps):
    assert list(lab.only([asked]).steps) == steps


@pytest.mark.parametrize(
    ("setting", "reaches"),
    [
        ("kto.beta=2", {"train-kto": {"beta": "2"}}),
        ("kto.max_batch_size=2", {"ask-kto": {"max_batch_size": "2"}}),
        ("train.seed=2", {"train-dpo": {"seed": "2"}, "train-kto": {"seed": "2"}}),
        ("train-dpo.seed=2", {"train-dpo": {"seed": "2"}}),
    ],
)
def test_a_setting_reaches_a_case_all_cases_or_one_step(lab, setting, reaches):
    assert parse_settings([setting], lab) == reaches


def test_a_setting_for_a_case_that_is_not_run_is_refused(lab):
    with pytest.raises(UsageError, match="has no step 'kto'"):
        parse_settings(["kto.beta=2"], lab.only(["dpo"]))


def test_a_rehearsal_is_by_step_of_each_and_by_case(lab):
    assert lab.rehearse.of("train-dpo").flags == {"max_steps": 3, "seed": 1}
    assert lab.rehearse.of("train-kto").flags == {"max_steps": 5, "seed": 1}, "the case's name is the more exact one"
    assert lab.rehearse.of("ask-kto").flags == {}


def test_a_case_that_is_impossible_is_left_out_as_a_whole(write_lab):
    lab = load_lab(write_lab(("kto: {max_steps: 5}", "kto: {impossible: no GPU}"), text=CASES))
    left = [name for name in lab.steps if lab.rehearse.of(name).impossible]
    assert left == ["train-kto", "ask-kto"]


def test_what_is_compared_stands_under_its_cases_name(lab):
    assert lab.compare == {"before": ["before"], "dpo": ["train-dpo", "ask-dpo"], "kto": ["train-kto", "ask-kto"]}
    assert list(lab.only(["kto"]).compare) == ["before", "kto"]


def test_a_breaks_steps_are_those_that_it_sets_and_the_one_that_shall_fail(lab):
    assert lab.to_break(lab.breaks[0]) == ["train-dpo"]
    assert lab.to_break(lab.breaks[1]) == ["train-dpo", "train-kto", "ask-dpo"]


def test_a_cases_figures_are_picked_from_its_steps():
    def step(name, seconds, metrics, rss, size):
        return {
            "step": name, "started": "2026-11-27T00:00:00Z", "state": "done", "seconds": seconds, "metrics": metrics,
            "peaks": {"rss_mib": rss}, "artefacts": [{"path": "a", "bytes": size * 2**20, "sha256": "0"}],
        }  # fmt: skip

    steps = [
        step("train-dpo", 2.0, {"loss_last": 0.5, "figures": {"rewards/margins": 1.25}}, 900, 3),
        step("ask-dpo", 1.5, {"exact_match": 0.75}, 700, 1),
    ]
    record = RunRecord.model_construct(
        run="x/1", title="T", profile="cpu", steps=[StepRecord.model_validate(s) for s in steps]
    )
    table = comparison(record, {"dpo": ["train-dpo", "ask-dpo"], "kto": ["train-kto"]})
    rows = dict(line.strip("| ").split(" | ") for line in table.splitlines()[6:])
    assert "| | dpo |\n" in table, "kto has not run"
    assert rows == {
        "last loss": "0.5", "exact match": "0.75", "peak RSS (MiB)": "900", "seconds": "3.5", "artefacts (MiB)": "4",
        "rewards/margins": "1.25",
    }  # fmt: skip


MISTAKES = {
    "a flag that the command does not know": (("beta: 0.1", "betta: 0.1"), 11, "no flag 'betta'", "beta"),
    "a flag of another of its steps": (("max_batch_size: 7", "rlhf_type: dpo"), 14, "swift infer knows no flag", ""),
    "a case like a step": (("  kto:\n", "  before:\n"), 12, "two things are called 'before'", "own names"),
    "a case like a step of each": (("  kto:\n", "  ask:\n"), 12, "two things are called 'ask'", "own names"),
    "a case with no name of a step": (("  kto:\n", "  K T O:\n"), 12, "no step can be called", "another name"),
    "a step of each with no such name": (
        ("  train:\n    run", "  logs:\n    run"),
        16,
        "can be called",
        "another name",
    ),
    "a case's unknown proof": (("[args say rlhf_type=dpo]", "[arg say x=dpo]"), 11, "no proof 'arg say", "args say"),
    "a step of each that has an unknown proof": (("[loss falls]", "[loss fals]"), 19, "no proof 'loss fals'", "falls"),
    "a proof about a later step": (("[loss falls]", "[exact match above ask]"), 19, "is no earlier step", ""),
    "a case that is a word": (("ask: {max_batch_size", "ask: 3 #"), 14, "not a mapping", ""),
    "an unknown preset": (("makes: lora", "makes: lorra"), 18, "no preset 'lorra'", ""),
    "an unknown preset to rehearse": (("kto: {max_steps: 5}", "kto: lorra"), 30, "no preset 'lorra'", ""),
    "a rehearsal of an unknown name": (("  kto: {max", "  ktoo: {max"), 30, "no step 'ktoo' to rehearse", "kto"),
    "a comparison of an unknown name": (("[before, cases]", "[before, dpoo]"), 23, "no step 'dpoo'", "dpo"),
    "a break of an unknown flag": (("dpo.rlhf_type=cpo", "dpo.rlhf_typ=cpo"), 25, "dpo.rlhf_typ", "rlhf_type"),
    "a break of an unknown case": (("- dpo.rlhf", "- dpoo.rlhf"), 25, "has no step 'dpoo'", "dpo"),
    "a break that is no setting": (("- dpo.rlhf_type=cpo", "- dpo"), 25, "not step.key=value", ""),
    "a break that sets nothing": (("- dpo.rlhf_type=cpo", "- {set: []}"), 25, "at least 1 item", ""),
    "a break of a proof that there is none of": (
        ("fails: exact", "fails: exakt"),
        26,
        "no step proves 'exakt",
        "exact",
    ),
    "a break's unknown key": (("fails: exact", "fials: exact"), 26, "'breaks.1.fials'", "fails"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_cases_is_named_with_its_line(write_lab, mistake):
    replacement, line, message, cure = MISTAKES[mistake]
    with pytest.raises(UsageError) as caught:
        load_lab(write_lab(replacement, text=CASES))
    assert f"lab.yaml:{line}: " in caught.value.message, caught.value.message
    assert message in caught.value.message
    assert cure in caught.value.cure


def test_each_without_cases_is_refused(write_lab):
    begin, end = CASES.index("cases:\n"), CASES.index("each:\n")
    with pytest.raises(UsageError, match="`cases` and `each` need each other"):
        load_lab(write_lab((CASES[begin:end], ""), text=CASES))


@pytest.mark.parametrize("name", lab_names())
def test_every_lab_that_a_cpu_can_rehearse_says_how_it_is_broken_and_which_proof_sees_it(name):
    lab = load_lab(LABS / name)
    if not lab.rehearse.impossible:
        assert lab.breaks, "`breaks:`, see CONTRIBUTING.md"
    assert all(broken.fails for broken in lab.breaks)
