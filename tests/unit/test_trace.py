"""What a traced command leaves, what is read of it, and the pages made of that: on a small stand-in for ms-swift."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from gpulab.common.errors import UsageError
from gpulab.lab.lab import find_lab
from gpulab.plan.make import plan
from gpulab.plan.plan import TRACER, PlanSpec
from gpulab.records.record import StepRecord
from gpulab.reports.traces.boxes import MOST, main_line, stations
from gpulab.reports.traces.chart import flow_chart
from gpulab.reports.traces.pages import tree
from gpulab.reports.traces.part import beside, partings
from gpulab.reports.traces.part import flow_chart as chart_of_both
from gpulab.reports.traces.paths import code_paths
from gpulab.reports.traces.read import Call, Trace, read_trace
from gpulab.runs.main_line import PAGE, SOURCES, sections
from gpulab.runs.trace import Traced, asked, drawn, main_of, main_step, parted, refuse_untraceable, trace
from gpulab.stacks.stack import load_stack

ARGUMENTS = """\
from dataclasses import asdict, dataclass

@dataclass
class DataArguments:
    dataset: str = "a"
    seed: int = 1

@dataclass
class SftArguments(DataArguments):
    rate: float = 0.5

    def __post_init__(self):
        self.rate or 1
        asdict(self)
"""
MAIN = """\
import signal, subprocess, sys, threading
from swift.arguments.sft_args import SftArguments

def at_import():
    pass

at_import()

def cli_main():
    subprocess.run([sys.executable, "-c", "from swift.cli.main import sft_main; sft_main()", *sys.argv[1:]])

def sft_main():
    args = SftArguments()
    load(args)
    thread = threading.Thread(target=worker)
    thread.start()
    thread.join()
    try:
        fails()
    except ValueError:
        pass
    for _ in range(3):
        step(args.rate)
    if "serve" in sys.argv:
        print("serving", flush=True)
        signal.pause()

def load(args):
    args.dataset

def worker():
    pass

def fails():
    raise ValueError

def step(rate):
    pass
"""

ACCELERATOR = """\
def prepare(deepspeed):
    Accelerator()._prepare_deepspeed() if deepspeed else prepare_model()

def prepare_model():
    pass

class Accelerator:
    def _prepare_deepspeed(self):
        pass
"""
TRAINER = """\
from accelerate.accelerator import prepare

def train(deepspeed):
    prepare(deepspeed)
"""


@pytest.fixture
def swift(tmp_path):
    """A folder with a package that has swift's name."""
    for name, text in {"arguments/sft_args.py": ARGUMENTS, "cli/main.py": MAIN}.items():
        file = tmp_path / "site-packages/swift" / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    return tmp_path / "site-packages"


def start(swift, code, *words, kept="trace", **more):
    env = {**os.environ, "GPULAB_TRACE": str(swift.parent / kept), "PYTHONPATH": f"{TRACER}{os.pathsep}{swift}"}
    return subprocess.Popen([sys.executable, "-c", code, *words], env=env, cwd=swift.parent, text=True, **more)


def traced(swift, code="from swift.cli.main import cli_main; cli_main()", kept="trace"):
    assert start(swift, code, kept=kept).wait(30) == 0
    return read_trace(swift.parent / kept)


def test_every_function_is_there_once_with_its_place_its_caller_and_its_count(swift):
    calls = {call.name.split(".")[-1]: call for call in traced(swift).calls}
    assert list(calls) == ["cli_main", "sft_main", "__post_init__", "load", "worker", "fails", "step"]
    assert calls["step"].place == f"swift/cli/main.py:{MAIN.splitlines().index('def step(rate):') + 1}"
    assert (calls["step"].calls, calls["fails"].calls, calls["load"].calls) == (3, 1, 1)
    assert calls["step"].above is calls["sft_main"] is calls["fails"].above
    assert calls["worker"].above is None  # a thread's first
    assert calls["cli_main"].seconds > calls["sft_main"].seconds > calls["step"].seconds > 0


def test_a_field_has_the_class_that_defines_it_and_the_first_line_that_reads_it(swift):
    found = traced(swift)
    line = MAIN.splitlines().index("    args.dataset") + 1
    assert code_paths(found, ["dataset", "no_flag"]) == [
        ["`--dataset`", "`DataArguments.dataset`", "`swift/arguments/sft_args.py:5`", "",
         f"`load` `swift/cli/main.py:{line}`"]
    ]  # fmt: skip
    assert found.reads["rate"].place == "swift/arguments/sft_args.py:13"
    assert found.outside["rate"].function == "sft_main"
    assert "seed" not in found.reads, "a copy of all fields reads none of them"


def test_where_ddp_and_deepspeed_part_is_seen_in_accelerate(swift):
    """ms-swift hands its model to accelerate in both: what parts them is below that."""
    (swift / "accelerate").mkdir()
    (swift / "accelerate/accelerator.py").write_text(ACCELERATOR)
    (swift / "swift/trainers").mkdir()
    (swift / "swift/trainers/mixin.py").write_text(TRAINER)
    left, right = (
        traced(swift, f"from swift.trainers.mixin import train; train({deepspeed})", kept)
        for deepspeed, kept in ((False, "ddp"), (True, "zero"))
    )
    assert [(p.function[1], p.left, p.right) for p in partings(left, right)] == [
        ("prepare", [("prepare_model", "accelerate/accelerator.py:4")],
         [("Accelerator._prepare_deepspeed", "accelerate/accelerator.py:8")]),
    ]  # fmt: skip
    alone = [pair.right.call.name for pair in beside(main_line(left), main_line(right)) if not pair.left]
    assert alone == ["Accelerator._prepare_deepspeed"]


def test_a_server_that_is_killed_has_left_its_calls(swift):
    server = start(swift, "from swift.cli.main import sft_main; sft_main()", "serve", stdout=subprocess.PIPE)
    assert server.stdout.readline() == "serving\n"
    server.send_signal(signal.SIGKILL)
    server.wait(30)
    assert "step" in [call.name for call in read_trace(swift.parent / "trace").calls]


def test_a_stacks_own_sitecustomize_is_carried_out_too(swift):
    (swift / "sitecustomize.py").write_text("import sys\nsys.own = True\n")
    assert start(swift, "import sys; sys.own").wait(30) == 0


def test_a_step_without_ms_swift_has_no_trace(swift):
    assert traced(swift, "pass") is None
    assert read_trace(swift.parent / "none") is None


def test_of_ranks_that_stand_side_by_side_one_is_read(tmp_path):
    def process(number, parent, *names):
        rows = [{"process": number, "parent": parent, "began": float(number)}]
        rows += [
            {"id": i, "by": 0, "name": n, "file": "swift/a.py", "line": i, "at": 0} for i, n in enumerate(names, 1)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{number}.jsonl").write_text(f'{text}{{"id": 9, "by"')  # the last line was being written

    process(10, 1, "cli_main")
    process(11, 10)
    process(12, 11, "sft_main", "save")
    process(13, 11, "sft_main")
    assert [call.name for call in read_trace(tmp_path).calls] == ["cli_main", "sft_main", "save"]


def calls_of(*places):
    """A trace of functions that each call the next one."""
    found = Trace()
    for number, place in enumerate(places):
        file, _, name = place.partition(":")
        above = found.calls[-1] if found.calls else None
        call = Call(name, file, number + 1, float(number), above, 1, 1.0)
        found.calls.append(call)
        if above:
            above.below.append(call)
    return found


SFT = ("swift/cli/main.py:cli_main", "swift/utils/env.py:get_dist_setting", "swift/pipelines/train/sft.py:sft_main",
       "swift/trainers/trainer_factory.py:TrainerFactory.get_trainer_cls")  # fmt: skip


def test_the_main_line_has_the_known_places_in_the_order_in_which_they_ran():
    boxes = main_line(calls_of(*SFT, SFT[0]))
    assert [box.call.name for box in boxes] == ["cli_main", "sft_main", "TrainerFactory.get_trainer_cls"]
    assert boxes[0].seconds == 1.0, "what it calls of itself counts once"


def test_a_chart_has_a_box_for_each_place_and_an_arrow_to_the_next():
    chart = flow_chart(main_line(calls_of(*SFT)))
    assert "swift/pipelines/train/sft.py:3" in chart
    assert [line.strip() for line in chart.splitlines() if "-->" in line] == ["b1 --> b2", "b2 --> b3"]


def test_a_long_chart_leaves_its_details_to_the_table():
    every = [station.at.replace("*", "x") for found in stations().values() for station in found]
    boxes = main_line(calls_of(*every[: MOST + 2]))
    drawn = flow_chart(boxes)
    assert len(boxes) > MOST >= drawn.count("<b>")
    assert "parse_yaml_args" not in drawn


def test_names_in_a_box_are_text_and_no_html():
    chart = flow_chart(main_line(calls_of('swift/pipelines/x/<i>"&.py:a_main')))
    assert "swift/pipelines/x/&lt;i&gt;&quot;&amp;.py:1" in chart


def test_what_took_no_time_is_folded_in_the_tree():
    found = calls_of("swift/a.py:slow", "swift/a.py:quick", "swift/a.py:below")
    found.calls[1].seconds = 0.0001
    assert "slow" in tree(found)
    assert "quick" not in tree(found)
    assert "below" not in tree(found)


def test_two_steps_part_where_their_main_lines_and_their_calls_differ():
    trainer = "swift/trainers/seq2seq_trainer.py:Seq2SeqTrainer.__init__"
    other = "swift/rlhf_trainers/dpo_trainer.py:DPOTrainer.__init__"
    left, right = calls_of(*SFT, trainer), calls_of(*SFT, other)
    pairs = beside(main_line(left), main_line(right))
    assert [bool(p.left) + 2 * bool(p.right) for p in pairs] == [3, 3, 3, 1, 2]
    chart = chart_of_both(pairs)
    assert "b3 --> b4" in chart
    assert "b3 --> b5" in chart
    assert "b4 --> b5" not in chart
    (row,) = partings(left, right)
    assert row.function[1] == "TrainerFactory.get_trainer_cls"
    assert row.left == [("Seq2SeqTrainer.__init__", "swift/trainers/seq2seq_trainer.py:5")]
    assert row.right == [("DPOTrainer.__init__", "swift/rlhf_trainers/dpo_trainer.py:5")]


def test_a_wrapper_that_passes_names_on_is_no_parting():
    wrapped = calls_of(*SFT, "peft/peft_model.py:PeftModel.__getattr__")
    assert partings(wrapped, calls_of(*SFT)) == []


def traced_as(name, trace):
    step = StepRecord(step=name, state="done")
    return Traced("train/tuners", step, trace, Path(name))


@pytest.mark.parametrize("width", [80, 200])
def test_every_place_is_shown_whole_whatever_the_terminal_is(width, monkeypatch):
    long = "swift/trainers/a_file_with_a_name.py:SwiftMixin.create_loss_and_eval_metric"
    monkeypatch.setattr("gpulab.runs.trace.console", Console(width=width))
    page = Console(width=width, file=io.StringIO(), record=True)
    page.print(drawn(traced_as("lora", calls_of(*SFT, long))))
    text = page.export_text()
    for place in ("swift/cli/main.py:1", "swift/pipelines/train/sft.py:3", "TrainerFactory.get_trainer_cls"):
        assert place in text
    assert "…" not in text


def test_the_step_that_was_asked_for_stands_for_a_run_and_not_what_it_refers_to():
    steps = [traced_as(name, calls_of(*SFT)) for name in ("single", "zero2")]
    for step in steps:
        step.step.argv = ["swift", "sft", "train.yaml"]
    assert main_of(steps, asked("train/multi-gpu:zero2", "", [], main_alone=True)).step.step == "zero2"
    assert main_of(steps, asked("train/multi-gpu", "single,zero2", [], main_alone=False)).step.step == "single"


def test_two_steps_are_shown_as_a_difference():
    trainer = "swift/trainers/seq2seq_trainer.py:Seq2SeqTrainer.__init__"
    text = parted(traced_as("lora", calls_of(*SFT, trainer)), traced_as("full", calls_of(*SFT))).plain
    assert text.splitlines() == [
        "- train/tuners:lora", "+ train/tuners:full",
        "TrainerFactory.get_trainer_cls  swift/trainers/trainer_factory.py",
        "- Seq2SeqTrainer.__init__  swift/trainers/seq2seq_trainer.py:5",
    ]  # fmt: skip


def test_each_step_of_a_traced_plan_has_its_folder_and_keeps_its_stacks_own_path():
    lab = find_lab("train/megatron").only(["single"])
    spec = PlanSpec(lab=lab, profile="cpu", stack=load_stack("megatron-cpu"), traced=True)
    env = plan(spec, Path("/run")).command("single").env
    assert env["GPULAB_TRACE"] == "/run/trace/single"
    beside = [str(TRACER.with_name(name)) for name in ("megatron_cpu", "torchvision_on_cpu")]
    assert env["PYTHONPATH"].split(os.pathsep) == [str(TRACER), *beside]
    assert (
        "GPULAB_TRACE"
        not in plan(PlanSpec(lab=lab, profile="cpu", stack=spec.stack), Path("/run")).command("single").env
    )


def test_two_labs_are_compared_in_what_they_train():
    assert main_step(find_lab("quickstart")) == "train"
    assert main_step(find_lab("infer/transformers")) in find_lab("infer/transformers").steps
    assert asked("rlhf/preferences", "", [], main_alone=True).only == "train-dpo"
    assert asked("train/tuners:full", "", [], main_alone=True).only == "full"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export/quantize:fp8", "", ""), "fp8 can't be rehearsed"),
        (("train/liger", "", ""), "can't be rehearsed"),
        (("quickstart:nothing", "", ""), "has no step 'nothing'"),
        (("quickstart", "", "nothing"), "has no step 'nothing'"),
        (("quickstart", "no-such-lab", ""), "no lab 'no-such-lab'"),
    ],
)
def test_what_cant_be_traced_is_refused_before_anything_runs(words, said, runs):
    with pytest.raises(UsageError, match=said) as refused:
        trace(*words, [])
    assert refused.value.cure
    assert not list(runs.glob("*/*"))


def test_a_step_that_can_be_rehearsed_beside_one_that_cant_is_no_mistake():
    for some in ("bnb", "quantize"):
        refuse_untraceable(asked(f"export/quantize:{some}", "", [], main_alone=False))


@pytest.mark.parametrize("command", SOURCES)
def test_the_page_has_a_chart_for_each_command_that_a_reader_can_take_in(command):
    part = sections(PAGE.read_text())[command]
    assert 15 <= part.split("```")[1].count("<b>") <= MOST
    assert f"./inv trace {SOURCES[command][0]}:{SOURCES[command][1]}" in part
