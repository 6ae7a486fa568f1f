"""Flags on command lines, and --set."""

from __future__ import annotations

import pytest

from gpulab import flags
from gpulab.errors import UsageError
from gpulab.lab import load_lab
from gpulab.plan import parse_settings


def test_a_flag_that_stands_in_the_command_is_replaced_where_it_stands():
    argv = ["swift", "sft", "--targets", "a", "b", "--lr", "1", "--seed=3"]
    assert flags.with_flags(argv, {"targets": ["c"], "seed": 4}) == [
        "swift", "sft", "--targets", "c", "--lr", "1", "--seed", "4",
    ]  # fmt: skip


def test_a_new_flag_goes_to_the_end_as_ms_swift_reads_it():
    assert flags.with_flags(["swift", "sft"], {"use_cpu": True, "kw": {"a": 1}, "lr": 5e-3}) == [
        "swift", "sft", "--use_cpu", "true", "--kw", '{"a": 1}', "--lr", "0.005",
    ]  # fmt: skip


def test_negative_values_are_no_flags():
    assert flags.given(["swift", "sft", "--max_steps", "-1"]) == {"max_steps": ["-1"]}


@pytest.mark.parametrize(
    ("setting", "message", "cure"),
    [
        ("train", "not step.key=value", "--set train.seed=1"),
        ("trian.seed=1", "no step 'trian'", "train"),
        ("train.lerning_rate=1", "no flag 'lerning_rate'", "learning_rate"),
        ("train.hub_token=abc", "hub_token is a secret", "environment"),
    ],
)
def test_a_wrong_set_names_the_cure(write_lab, setting, message, cure):
    lab = load_lab(write_lab())
    with pytest.raises(UsageError) as caught:
        parse_settings([setting], lab)
    assert message in caught.value.message
    assert cure in caught.value.cure


def test_a_value_may_hold_anything(write_lab):
    lab = load_lab(write_lab())
    assert parse_settings(["train.dataset=a=b.c"], lab) == {"train": {"dataset": "a=b.c"}}
