"""A vision tower before the language model, and a layer of multi-token prediction behind it: what each rank holds.

The numbers are what ranks of rehearsals counted (gpulab/inside/megatron_rank_report.py) of the twins of Qwen2.5-VL and
Qwen3, 2026-11-27.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpulab.common.errors import UsageError
from gpulab.inside.layout import Layout
from gpulab.plan.layout.memory import GIB, megatron_memory, swift_memory
from gpulab.plan.layout.shape import find_shape, shape_of
from tests.unit.layout.conftest import training

SEES = shape_of(
    {
        "model_type": "qwen2_5_vl", "tie_word_embeddings": True,
        "text_config": {
            "model_type": "qwen2_5_vl_text", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 128, "vocab_size": 151936,
            "tie_word_embeddings": True,
        },
        "vision_config": {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "patch_size": 14,
            "in_channels": 3, "temporal_patch_size": 2, "spatial_merge_size": 2,
        },
    },
    "config.json",
)  # fmt: skip
SPEAKS = shape_of(
    {
        "model_type": "qwen3", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 128, "vocab_size": 422,
        "tie_word_embeddings": True,
    },
    "config.json",
)  # fmt: skip
# Of each layout what the fullest rank held, and how much of it was trained.
SEEN = {
    "one rank": ("", Layout(1, 1), 9_881_824, 9_798_208),
    "tensor": ("", Layout(1, 2, tensor=2), 4_982_880, 4_899_264),
    "stages": ("", Layout(1, 2, pipeline=2), 9_844_640, 9_761_024),
    "all of it trained": ("--freeze_vit false --freeze_aligner false", Layout(1, 1), 9_881_824, 9_881_824),
}


@pytest.mark.parametrize("name", SEEN)
def test_a_tower_lies_whole_on_each_rank_of_the_first_stage(name):
    flags, layout, held, trained = SEEN[name]
    exported, sft = (megatron_memory(SEES, training(f"megatron {line}"), layout) for line in ("export", f"sft {flags}"))
    assert exported.weights * GIB / 2 == pytest.approx(held, rel=1e-4)
    assert sft.gradients * GIB / 4 == pytest.approx(trained, rel=1e-4)


def test_a_stage_after_the_first_holds_none_of_it():
    """Cut so that the last stage, which has the logits, is the fullest."""
    step = training("megatron sft --max_length 4096")
    plain, seeing = (
        megatron_memory(shape, step, Layout(1, 2, pipeline=2)) for shape in (replace(SEES, vision=None), SEES)
    )
    assert plain == seeing


def test_a_tower_that_is_trained_has_an_adapter_and_keeps_what_it_computed():
    lora = "megatron sft --tuner_type lora --lora_rank 8"
    frozen, trained = (
        megatron_memory(find_shape("Qwen/Qwen3-VL-8B-Instruct"), training(line), Layout(1, 2, tensor=2))
        for line in (lora, f"{lora} --freeze_vit false")
    )
    matrices = (1152 + 3456) + (1152 + 1152) + (1152 + 4304) + (4304 + 1152)
    assert (trained.gradients - frozen.gradients) * GIB / 4 == pytest.approx(8 * 27 * matrices)
    assert trained.activations > frozen.activations


def test_where_only_the_aligner_is_trained_it_alone_has_gradients_and_moments():
    step = training("megatron sft --freeze_llm true --freeze_aligner false --use_distributed_optimizer false")
    memory = megatron_memory(SEES, step, Layout(1, 2, tensor=2))
    assert memory.gradients * GIB / 4 == pytest.approx(SEES.vision.aligner)
    assert memory.optimizer * GIB / 12 == pytest.approx(SEES.vision.aligner)


@pytest.mark.parametrize(
    ("flags", "trained"),
    [
        ("", SEES.spoken),
        ("--freeze_vit false", SEES.spoken + SEES.vision.tower),
        ("--freeze_llm true --freeze_aligner false", SEES.vision.aligner),
    ],
)
def test_ms_swift_trains_the_same_parts_without_megatron(flags, trained):
    memory = swift_memory(SEES, training(f"swift sft --tuner_type full {flags}"), 1, 1, 1)
    assert memory.gradients * GIB / 2 == pytest.approx(trained)
    assert memory.weights * GIB / 2 == pytest.approx(SEES.parameters)


# In stages the last has the embedding a second time, beside its copy that gives the output.
PREDICTED = {
    "one rank": (1, Layout(1, 1), 183_424),
    "stages": (1, Layout(1, 2, pipeline=2), 161_024),
    "two layers, tensor": (2, Layout(1, 2, tensor=2), 121_216),
}


@pytest.mark.parametrize("name", PREDICTED)
def test_what_predicts_one_token_more_is_a_layer_more_on_the_last_stage(name):
    layers, layout, held = PREDICTED[name]
    memory = megatron_memory(SPEAKS, training(f"megatron pt --mtp_num_layers {layers}"), layout)
    assert memory.weights * GIB / 2 == pytest.approx(held, rel=1e-3)
    assert memory.gradients == 2 * memory.weights


def test_a_second_token_has_a_row_of_logits_too():
    """Measured in logits alone: the layers' own activations are recomputed."""
    shape = replace(find_shape("Qwen/Qwen3-8B"), vocab=10**7)
    one, two = (
        megatron_memory(shape, training(f"megatron pt --recompute_granularity full {more}"), Layout(1, 1))
        for more in ("", "--mtp_num_layers 1")
    )
    assert two.activations == pytest.approx(2 * one.activations, rel=0.01)


def test_the_first_stage_has_a_layer_for_each_of_the_towers_that_it_is_shown(choose):
    """Qwen3-VL-4B: 36 layers in 18 stages are two each, and three of the tower's are shown."""
    with pytest.raises(UsageError) as error:
        choose("Qwen/Qwen3-VL-4B-Instruct", 9, 2, 80, "--global_batch_size 18", pipeline=18)
    assert "3 layers of the vision tower" in error.value.message
    assert "pipeline_model_parallel_size=N, one of 1, 2, 3, 6, 9" in error.value.cure
