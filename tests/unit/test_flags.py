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

    def fields(cls):
        return {field.name: "text" for field in dataclasses.fields(cls)}

    read = swift_flags.flags_written(tmp_path, "Arguments", known, fields)
    assert list(read) == sorted(fields(real)) == ["beta", "model", "tensor_model_parallel_size"]
    assert read == {"beta": None, "model": "text", "tensor_model_parallel_size": None}, "a base's kinds are known"


def action(kind, choices=None):
    return types.SimpleNamespace(type=kind, choices=choices)


def test_a_flags_kind_is_what_the_parser_takes():
    def string_to_bool(word):
        return word == "true"

    kinds = [action(int), action(float), action(str), action(string_to_bool), action(len, ("a", 8, None))]
    assert [swift_flags.kind_of(kind) for kind in kinds] == ["int", "float", None, "bool", ["a", "8", "None"]]


VALUES = {
    ("rlhf", "rlhf_type", "dppo"): "ppo or dpo",
    ("rlhf", "rlhf_type", "DPO"): "known: cpo, dpo",
    ("sft", "max_steps", "1e3"): "a whole number",
    ("sft", "max_steps", "None"): "a whole number",
    ("sft", "learning_rate", "1e-4x"): "a number",
    ("sft", "bf16", "maybe"): "true or false",
    ("sft", "torch_dtype", "float23"): "did you mean float32",
    ("sft", "optim", "adamw"): "did you mean",
}
GOOD = [
    ("rlhf", "rlhf_type", "dpo"), ("sft", "max_steps", -1), ("sft", "learning_rate", 5e-3),
    ("sft", "learning_rate", "2e-5"), ("sft", "learning_rate", 1), ("sft", "learning_rate", ".5"),
    ("sft", "bf16", True), ("sft", "bf16", "False"), ("sft", "dataset", ["a", "b"]), ("sft", "quant_bits", 4),
    ("sft", "torch_dtype", "None"), ("sft", "max_steps", "{world}"),
    ("rlhf", "reward_weights", [1, 0.5]),
]  # fmt: skip


@pytest.mark.parametrize(("command", "flag", "value"), VALUES)
def test_a_value_that_ms_swifts_parser_refuses_is_named_with_the_cure(command, flag, value):
    said, cure = flags.impossible(["swift", command], flag, value)
    assert said == f"swift {command} takes no such value of {flag!r}"
    assert VALUES[command, flag, value] in cure


@pytest.mark.parametrize(("command", "flag", "value"), GOOD)
def test_a_value_that_it_takes_is_no_mistake(command, flag, value):
    assert flags.impossible(["swift", command], flag, value) is None


def test_other_programs_values_are_their_own():
    assert flags.impossible(["python", "x.py", "--max_steps", "a"], "max_steps", "a") is None


WRONG = {
    "on the line": (("--temperature 0", "--temperature hot"), "lab.yaml:13", "takes no such value of 'temperature'"),
    "in a rehearsal": (("{max_steps: 3}", "{max_steps: three}"), "lab.yaml:16", "takes no such value of 'max_steps'"),
}


@pytest.mark.parametrize("where", WRONG)
def test_a_wrong_value_in_a_lab_is_named_with_its_line(write_lab, where):
    replacement, line, message = WRONG[where]
    with pytest.raises(UsageError) as caught:
        load_lab(write_lab(replacement))
    assert f"{line}: " in caught.value.message and message in caught.value.message


@pytest.mark.parametrize(
    ("line", "message", "cure"),
    [
        ("bf16: maybe", "takes no such value of 'bf16'", "true or false"),
        ("dataset: data/none.jsonl#20", "no file data/none.jsonl", "data.jsonl"),
        ("val_dataset: [data.jsonl, dota.jsonl]", "no file dota.jsonl", "did you mean data.jsonl?"),
        ("external_plugins: plugin.py", "no file plugin.py", "put it into"),
        ('external_plugins: "{tools}/rank_repotr.py"', "no file {tools}/rank_repotr.py", "rank_report.py"),
        ("dataset: ../other/data.jsonl", "../other/data.jsonl lies outside of the lab", "../../common/"),
    ],
)
def test_a_wrong_value_or_file_in_ms_swifts_own_yaml_is_named_with_its_line(write_lab, line, message, cure):
    folder = write_lab()
    (write_lab(name="start/other") / "data.jsonl").touch()
    (folder / "train.yaml").write_text(f"seed: 1\n{line}\n")
    with pytest.raises(UsageError) as caught:
        load_lab(folder)
    assert "train.yaml:2: " in caught.value.message and message in caught.value.message
    assert cure in caught.value.cure


def test_a_value_set_that_the_command_does_not_take_is_refused_without_saying_it(write_lab):
    with pytest.raises(UsageError, match="takes no such value of 'max_steps'") as caught:
        parse_settings(["train.max_steps=s3cret"], load_lab(write_lab()))
    assert "s3cret" not in caught.value.message + caught.value.cure


@pytest.mark.parametrize("command", ["megatron sft", "megatron pt", "megatron rlhf", "megatron export"])
def test_megatrons_commands_know_their_own_flags_and_ms_swifts(command):
    assert flags.unknown(command.split(), "tensor_model_parallel_size") is None
    assert flags.unknown(command.split(), "dataset") is None
    wrong, cure = flags.unknown(command.split(), "tensor_model_paralel_size")
    assert wrong == f"{command} knows no flag 'tensor_model_paralel_size'"
    assert "did you mean tensor_model_parallel_size" in cure
