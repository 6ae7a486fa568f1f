"""gpulab/plan/layout/shape.py and shapes.yml, against the parameter counts that the hub states."""

from __future__ import annotations

import json
import math

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import CACHE
from gpulab.plan.layout.shape import find_shape, known_shapes, shape_of

# From the hub's own count (`safetensors.total`); of models with tied embeddings without the copy that some files hold.
STATED = {
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-14B-Instruct": 14_770_033_664,
    "Qwen/Qwen2.5-32B-Instruct": 32_763_876_352,
    "Qwen/Qwen2.5-72B-Instruct": 72_706_203_648,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-235B-A22B": 235_093_634_560,
    "LLM-Research/Meta-Llama-3.1-8B-Instruct": 8_030_261_248,
    "LLM-Research/Meta-Llama-3.1-70B-Instruct": 70_553_706_496,
    "LLM-Research/Meta-Llama-3.1-405B-Instruct": 405_853_388_800,
    "deepseek-ai/DeepSeek-V2-Lite": 15_706_484_224,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen2.5-VL-32B-Instruct": 33_452_718_336,
    "Qwen/Qwen2.5-VL-72B-Instruct": 73_410_777_344,
    "Qwen/Qwen3-VL-4B-Instruct": 4_437_815_808,
    "Qwen/Qwen3-VL-8B-Instruct": 8_767_123_696,
    "Qwen/Qwen3-VL-30B-A3B-Instruct": 31_070_754_032,
}
# The config.json of the twin that tests/labs trains, and the parameters that torch counted in it.
TWIN = {
    "model_type": "qwen3", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 128, "vocab_size": 421,
    "tie_word_embeddings": True, "attention_bias": False,
}  # fmt: skip


@pytest.mark.parametrize(("model", "parameters"), STATED.items())
def test_a_known_model_has_as_many_parameters_as_the_hub_says(model, parameters):
    assert find_shape(model).parameters == parameters


def test_every_entry_is_checked_against_the_hub_or_is_another_name_of_one_that_is():
    checked = [known_shapes()[model] for model in STATED]
    assert [name for name, config in known_shapes().items() if config not in checked] == []


def test_a_folders_own_config_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TWIN))
    assert find_shape(str(tmp_path)).parameters == 125_696


def test_experts_are_counted_under_the_name_that_transformers_5_saves_them_under():
    named = {**TWIN, "model_type": "qwen3_moe", "num_experts_per_tok": 2, "moe_intermediate_size": 64}
    saved = shape_of({**named, "num_local_experts": 4}, "config.json")
    assert saved.experts == 4
    assert saved == shape_of({**named, "num_experts": 4}, "config.json")


def test_a_made_twin_counts_as_torch_counted_it():
    """Where a rehearsal has left one: its tensors, read from the file that it was saved in."""
    made = (CACHE / "twins").glob("*/[!.]*/model.safetensors")  # not those that a rehearsal beside us is writing
    counts = ("Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "VLForConditionalGeneration")  # not heads and encoders
    saved = [f for f in made if (c := f.with_name("config.json")).is_file() and any(n in c.read_text() for n in counts)]
    if not saved:
        pytest.skip("no rehearsal has made a twin here yet")
    for file in saved:
        written = file.read_bytes()
        head = json.loads(written[8 : 8 + int.from_bytes(written[:8], "little")])
        counted = sum(math.prod(tensor["shape"]) for name, tensor in head.items() if name != "__metadata__")
        assert find_shape(str(file.parent)).parameters == counted, file


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "qwen3_next"}, "'qwen3_next' is not known"),
        ({k: v for k, v in TWIN.items() if k != "hidden_size"}, "no 'hidden_size'"),
        ({**TWIN, "model_type": "qwen3_moe", "mlp_only_layers": [0]}, "with and without experts"),
    ],
)
def test_a_shape_that_is_not_understood_is_refused_and_not_guessed(config, said):
    with pytest.raises(UsageError) as error:
        shape_of(config, "config.json")
    assert said in error.value.message
    assert error.value.cure


def test_a_misspelt_model_names_the_nearest():
    with pytest.raises(UsageError) as error:
        find_shape("Qwen/Qwen3-08B")
    assert "Qwen/Qwen3-8B" in error.value.cure
