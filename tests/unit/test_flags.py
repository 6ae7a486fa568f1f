"""Flags on command lines, and --set."""

from __future__ import annotations

import dataclasses
import runpy
import types

import pytest

from gpulab.common.errors import UsageError
from gpulab.inside import swift_flags
from gpulab.lab import flags
from gpulab.lab.lab import load_lab
from gpulab.lab.settings import parse_settings


def test_a_flag_that_stands_in_the_command_is_replaced_where_it_stands():
    argv = ["swift", "sft", "--targets", "a", "b", "--lr", "1", "--seed=3"]
    assert flags.with_flags(argv, {"targets": ["c"], "seed": 4}) == [
        "swift", "sft", "--targets", "c", "--lr", "1", "--seed", "4",
    ]  # fmt: skip


def test_a_new_flag_goes_to_the_end_as_ms_swift_reads_it():
    assert flags.with_flags(["swift", "sft"], {"use_cpu": True, "kw": {"a": 1}, "lr": 5e-3}) == [
        "swift", "sft", "--use_cpu", "true", "--kw", '{"a": 1}', "--lr", "0.005",
    ]  # fmt: skip


def test_a_launchers_own_flags_are_left_alone_and_unchecked():
    argv = ["torchrun", "--nnodes", "2", "--seed", "7", "--no_python", "swift", "sft", "train.yaml", "--seed", "1"]
    assert flags.command(argv) == "swift sft"
    assert flags.config(argv) == "train.yaml"
    assert flags.given(argv) == {"seed": ["1"]}
    assert flags.with_flags(argv, {"seed": 3, "max_steps": 2}) == [*argv[:-1], "3", "--max_steps", "2"]
    assert flags.unknown(argv, "nnodes") is not None


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


WRITTEN = """
from dataclasses import dataclass, field
{imports}

@dataclass
class Mixin:
    beta: float = 0.1
    label = "no field"

    def method(self):
        inner: int = 1

@dataclass
class Arguments(Mixin, Base):
    tensor_model_parallel_size: int = 1
    beta: float = field(default=0.2)
"""


def test_flags_read_from_source_are_those_that_python_makes_of_it(tmp_path):
    @dataclasses.dataclass
    class Base:
        model: str = ""

    known = types.SimpleNamespace(Base=Base)
    (tmp_path / "args.py").write_text(WRITTEN.format(imports="import not_in_this_stack"))
    (tmp_path / "real.txt").write_text(WRITTEN.format(imports=""))
    real = runpy.run_path(str(tmp_path / "real.txt"), {"Base": Base})["Arguments"]
    read = swift_flags.flags_written(tmp_path, "Arguments", known)
    assert read == swift_flags.flags_of(real) == ["beta", "model", "tensor_model_parallel_size"]


@pytest.mark.parametrize("command", ["megatron sft", "megatron pt", "megatron rlhf", "megatron export"])
def test_megatrons_commands_know_their_own_flags_and_ms_swifts(command):
    assert flags.unknown(command.split(), "tensor_model_parallel_size") is None
    assert flags.unknown(command.split(), "dataset") is None
    wrong, cure = flags.unknown(command.split(), "tensor_model_paralel_size")
    assert wrong == f"{command} knows no flag 'tensor_model_paralel_size'"
    assert "did you mean tensor_model_parallel_size" in cure
