"""The choice of a layout, against what NVIDIA and ms-swift publish for the same models on the same GPUs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpulab.common.errors import UsageError
from gpulab.inside.layout import Layout
from gpulab.plan.layout.memory import megatron_memory
from gpulab.plan.layout.rules import broken
from gpulab.plan.layout.shape import find_shape
from tests.unit.layout.conftest import USUAL, training

LLAMA = "LLM-Research/Meta-Llama-3.1-{}-Instruct"


def sizes(layout: Layout) -> dict[str, int]:
    return {a: n for a in ("tensor", "pipeline", "context", "expert") if (n := getattr(layout, a)) > 1}


# ms-swift's examples/megatron: dense/qwen3_32b.sh, lora/qwen3_235b.sh, lora/moe.sh; each says what GPUs it ran on.
SMALL = "--tuner_type lora --micro_batch_size 8 --max_length 2048"
PUBLISHED = [
    ("Qwen/Qwen3-32B", 1, 8, "", {"tensor": 8}),
    ("Qwen/Qwen3-235B-A22B", 1, 8, SMALL, {"tensor": 4, "expert": 8}),
    ("Qwen/Qwen3-30B-A3B", 1, 2, SMALL, {"expert": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("model", "nodes", "gpus", "more", "published"), PUBLISHED)
def test_the_choice_is_what_ms_swifts_examples_use(choose, model, nodes, gpus, more, published):
    assert sizes(choose(model, nodes, gpus, 80, more)) == published


# docs/user-guide/parallelism-guide.md of Megatron: model, GPUs, TP, PP, CP; length and global batch of its example.
GUIDE = [
    (LLAMA.format("8B"), 8, {"context": 2}),
    (LLAMA.format("70B"), 64, {"tensor": 4, "pipeline": 4, "context": 2}),
]


@pytest.mark.parametrize("odd", ["ffn", "shared_ffn"])
def test_of_a_mixture_the_mlp_without_experts_and_the_shared_one_are_divided_too(odd):
    shape = replace(find_shape("deepseek-ai/DeepSeek-V2-Lite"), **{odd: 1001})
    wrong = broken(Layout(1, 2, tensor=2, expert=2), shape, training(f"megatron sft {USUAL}"))
    assert wrong
    assert "width 1001" in wrong[1]


@pytest.mark.parametrize(("model", "gpus", "published"), GUIDE)
def test_the_guides_layouts_break_no_rule_and_fit(model, gpus, published):
    step = training(f"megatron sft {USUAL} --global_batch_size 512")
    layout = Layout(gpus // 8, 8, **published)
    assert broken(layout, find_shape(model), step) is None
    assert megatron_memory(find_shape(model), step, layout).total < 80


def test_a_model_that_fits_one_gpu_is_only_data_parallel(choose):
    layout = choose("Qwen/Qwen3-0.6B", 1, 8, 80)
    assert sizes(layout) == {}
    assert layout.data == 8


def test_tensor_parallelism_stays_in_a_node_and_the_pipeline_goes_over_nodes(choose):
    layout = choose(LLAMA.format("70B"), 8, 8, 80, "--global_batch_size 512")
    assert layout.tensor == 8
    assert not layout.crosses_nodes
    assert megatron_memory(find_shape(LLAMA.format("70B")), training(f"megatron sft {USUAL}"), layout).total < 80


def test_what_is_set_is_taken_and_only_the_rest_is_chosen(choose):
    layout = choose("Qwen/Qwen3-32B", 1, 8, 80, tensor=4)
    assert layout.tensor == 4
    assert layout.pipeline == 2
    assert "tensor 4: as set" in layout.reasons
    over = choose("Qwen/Qwen3-32B", 2, 4, 80, tensor=8)
    assert any(reason.startswith("tensor 8: as set; it reaches over nodes") for reason in over.reasons)


def test_each_choice_says_what_less_would_cost(choose):
    layout = choose("Qwen/Qwen3-32B", 1, 8, 80)
    assert layout.reasons[0] == "tensor 8: with 4 a GPU would need 101 GiB of 80"
    assert layout.reasons[1] == "pipeline 1: not needed"
    assert layout.reasons[-1].startswith("data 1: what is left of 8 GPUs; a global batch of 16 is 1 x 16 micro batches")
    assert not any(reason.startswith("expert") for reason in layout.reasons), "a dense model has none"


def test_a_layout_chosen_for_the_batchs_sake_says_so(choose):
    layout = choose("Qwen/Qwen3-235B-A22B", 1, 8, 80, SMALL)
    assert "a global batch of 16 is no multiple of 32" in layout.reasons[0]


def test_where_nothing_fits_the_least_is_chosen(choose):
    layout = choose("Qwen/Qwen3-8B", 1, 2, 16)
    step = training(f"megatron sft {USUAL} --global_batch_size 16")
    need = {n: megatron_memory(find_shape("Qwen/Qwen3-8B"), step, Layout(1, 2, tensor=n)).total for n in (1, 2)}
    assert layout.tensor == min(need, key=need.__getitem__)


IMPOSSIBLE = [
    ("Qwen/Qwen3-8B", {"tensor": 3}, "", "32 attention heads can't be shared by a tensor parallel size of 3",
     "--set train.tensor_model_parallel_size=N, one of 1, 2, 4, 8"),
    ("Qwen/Qwen2.5-7B-Instruct", {"tensor": 7}, "", "4 key/value heads can't be shared by a tensor parallel size of 7",
     "one of 1, 2, 4"),
    ("Qwen/Qwen3-8B", {"pipeline": 5}, "", "36 layers can't be shared by 5 pipeline stages", "one of 1, 2, 4"),
    ("Qwen/Qwen3-8B", {"pipeline": 2}, "--decoder_first_pipeline_num_layers 40",
     "36 layers with 40 in the first stage can't be shared by 2", ""),
    ("Qwen/Qwen3-8B", {"expert": 2}, "", "no experts for an expert parallel size of 2", "one of 1"),
    ("Qwen/Qwen3-30B-A3B", {"expert": 3}, "", "128 experts can't be shared by an expert parallel size of 3",
     "1, 2, 4, 8"),
    ("Qwen/Qwen3-30B-A3B", {"tensor": 2}, "--sequence_parallel false", "only with sequence parallelism",
     "--set train.sequence_parallel=true"),
    ("Qwen/Qwen3-30B-A3B", {"tensor": 2, "expert": 1}, "", "would be trained apart on each rank", "one of 2, 4, 8"),
    ("Qwen/Qwen3-8B", {"tensor": 4, "pipeline": 4}, "", "8 GPUs can't be divided by tensor 4 x pipeline 4",
     "one of 1, 2"),
    ("Qwen/Qwen3-8B", {"tensor": 1, "pipeline": 1, "context": 1}, "--global_batch_size 12",
     "a global batch of 12 is no multiple of 8 (micro batch 1 x 8 data parallel)", "--set train.global_batch_size=16"),
    ("Qwen/Qwen3-8B", {"pipeline": 2}, "--virtual_pipeline_model_parallel_size 4",
     "18 layers of a stage can't be 4 virtual stages", ""),
]  # fmt: skip


@pytest.mark.parametrize(("model", "fixed", "more", "said", "cure"), IMPOSSIBLE)
def test_an_impossible_layout_is_refused_with_the_reason_and_a_size_that_would_do(
    choose, model, fixed, more, said, cure
):
    with pytest.raises(UsageError) as error:
        choose(model, 1, 8, 80, more, **fixed)
    assert said in error.value.message
    assert error.value.message.startswith("train: ")
    assert cure in error.value.cure


def test_too_many_gpus_for_a_batch_are_refused_and_not_filled_with_slices(choose):
    with pytest.raises(UsageError, match="a global batch of 16 is no multiple of"):
        choose("Qwen/Qwen3-8B", 1000, 8, 80)


@pytest.mark.parametrize("sizes_that_would_do", [1, 2, 4, 8])
def test_a_size_that_a_refusal_names_would_do(choose, sizes_that_would_do):
    assert choose("Qwen/Qwen3-8B", 1, 8, 80, tensor=sizes_that_would_do).tensor == sizes_that_would_do
