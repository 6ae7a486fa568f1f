"""`models:` of lab.yaml: further models beside the first, each with a twin."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.lab.lab import load_lab
from gpulab.plan.make import plan
from gpulab.plan.plan import PlanSpec
from gpulab.stacks.stack import load_stack

MODELS = """\
title: A lab of the tests
upstream: examples/none
curriculum: none
stack: cpu
model: Org/Tiny-1B
models: {teacher: Org/Big-9B, judge: Org/Judge-2B}
needs: {gpus: 1}
steps:
  train:
    run: swift rlhf train.yaml --model {model} --teacher_model {teacher} --reward_model {judge} --run_name {judge.name}
rehearse:
  twin: qwen3
  speaks: train.yaml
  twins:
    judge: {family: qwen3}
"""


def planned(folder: Path, profile: str, run: Path):
    return plan(PlanSpec(lab=load_lab(folder), profile=profile, stack=load_stack("cpu")), run)


def test_as_written_each_placeholder_is_its_models_name(write_lab, tmp_path):
    made = planned(write_lab(text=MODELS), "gpu", tmp_path)
    assert made.steps == ("train",)
    words = " ".join(made.command("train").argv)
    assert "--model Org/Tiny-1B --teacher_model Org/Big-9B --reward_model Org/Judge-2B --run_name Judge-2B" in words


def test_in_a_rehearsal_each_model_has_a_twin_named_like_it(write_lab, tmp_path):
    made = planned(write_lab(text=MODELS), "cpu", tmp_path)
    assert made.steps == ("twin", "twin-teacher", "twin-judge", "train")
    argv = made.command("train").argv
    given = {word: argv[n + 1] for n, word in enumerate(argv[:-1]) if word.startswith("--")}
    for step, flag, name in (
        ("twin", "--model", "Tiny-1B"), ("twin-teacher", "--teacher_model", "Big-9B"),
        ("twin-judge", "--reward_model", "Judge-2B"),
    ):  # fmt: skip
        assert given[flag] == made.command(step).argv[3]
        assert Path(given[flag]).name == name
    assert "--speaks" in made.command("twin-teacher").argv, "as the first model's, where nothing else is said"
    assert "--speaks" not in made.command("twin-judge").argv


def test_models_of_one_name_and_kind_share_a_twin(write_lab, tmp_path):
    text = MODELS.replace("Org/Big-9B", "Org/Tiny-1B")
    made = planned(write_lab(text=text), "cpu", tmp_path)
    assert made.steps == ("twin", "twin-judge", "train")


MISTAKES = {
    "an unknown model": (("{teacher}", "{teecher}"), 10, "unknown placeholder {teecher}", "teacher"),
    "an unknown part": (("{judge.name}", "{judge.url}"), 10, "unknown placeholder {judge.url}", ""),
    "a name that means something": (("{teacher: ", "{model: "), 6, "no model can be called 'model'", "another"),
    "a twin of no model": (("    judge: {fam", "    juge: {fam"), 15, "no model 'juge'", "judge"),
    "a twin of no family": (("{family: qwen3}", "qwen33"), 15, "no family of twins 'qwen33'", "qwen3"),
    "a twin's file that is not there": (("{family: qwen3}", "{family: qwen3, speaks: no.jsonl}"), 15, "no file", ""),
    "a step named like a twin": (("  train:\n", "  twin-a:\n"), 9, "no step can be called", "another"),
    "a step named like a model": (("  train:\n", "  judge:\n"), 9, "no step can be called", "another"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_models_is_named_with_its_line(write_lab, mistake):
    replacement, line, message, cure = MISTAKES[mistake]
    with pytest.raises(UsageError) as caught:
        load_lab(write_lab(replacement, text=MODELS))
    assert f"lab.yaml:{line}: " in caught.value.message, caught.value.message
    assert message in caught.value.message
    assert cure in caught.value.cure
