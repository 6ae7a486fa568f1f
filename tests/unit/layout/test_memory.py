"""gpulab/plan/layout/memory.py, against published formulae and against what ms-swift's examples say they took."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from gpulab.inside.layout import Layout
from gpulab.plan.layout.memory import GIB, kept_by_layer, lora_parameters, megatron_memory, swift_memory
from gpulab.plan.layout.shape import Shape, find_shape
from gpulab.plan.layout.training import Training, read_training
from tests.unit.layout.conftest import training

GPT = Shape(layers=96, hidden=12288, heads=96, kv_heads=96, head_dim=128, ffn=32768, vocab=51200)
"""GPT-3, its MLP of two matrices of width 4h written as a gated one that keeps as much: 6f = 16h."""


def test_a_layers_activations_are_korthikantis_without_dropout():
    """Table 2 there, in units of s x b x h: 34 without parallelism, 10 + 24/t with tensor parallelism, 34/t with
    sequence parallelism; of each 2 are the masks of two dropouts."""
    h = GPT.hidden
    assert kept_by_layer(GPT, Training()) / h == pytest.approx(34 - 2, rel=1e-3)
    assert kept_by_layer(GPT, Training(), 8) / h == pytest.approx(10 - 2 + 24 / 8, rel=1e-3)
    assert kept_by_layer(GPT, Training(sequence_parallel=True), 8) / h == pytest.approx((34 - 2) / 8, rel=1e-3)


def test_attention_without_flash_keeps_its_scores():
    """The paper's 5as/h more."""
    training = Training(sequence=2048)
    more = kept_by_layer(GPT, replace(training, dense_attention=True)) - kept_by_layer(GPT, training)
    assert more == 5 * GPT.heads * 2048


@pytest.mark.parametrize(("sharing", "per_parameter"), [(True, 6 + 12 / 8), (False, 18)])
def test_megatron_holds_as_many_bytes_as_its_documentation_says(sharing, per_parameter):
    """docs of the distributed optimizer: bf16 weights with fp32 gradients, 18 bytes, or 6 + 12/d."""
    shape = find_shape("Qwen/Qwen3-8B")
    held = megatron_memory(shape, Training(megatron=True, shards_optimizer=sharing), Layout(1, 8))
    assert (held.weights + held.gradients + held.optimizer) * GIB == pytest.approx(per_parameter * shape.parameters)


# Figure 1 of the ZeRO paper: 7.5B parameters on 64 GPUs take 120 GB, or 31.4, 16.6 and 1.9 in stages 1, 2 and 3.
@pytest.mark.parametrize(("stage", "gigabytes"), [(1, 31.4), (2, 16.6), (3, 1.9)])
def test_deepspeeds_stages_take_what_the_zero_paper_says(stage, gigabytes):
    shape = replace(GPT, layers=1, vocab=1, hidden=1, ffn=0, heads=1, kv_heads=1, head_dim=1_875_000_000)
    assert shape.parameters == pytest.approx(7.5e9, rel=1e-3)
    held = swift_memory(shape, Training(command="sft", zero=stage, param_offload=False), 64, 8, 8)
    live = 2 * 1e9 / 1e9 if stage == 3 else 0  # what is gathered for the moment, which the paper's figure leaves out
    assert (held.weights + held.gradients + held.optimizer) * GIB / 1e9 - live == pytest.approx(gigabytes, rel=0.02)


MEGATRON = "--recompute_granularity full --sequence_parallel true"
# ms-swift's examples (examples/megatron and examples/train): model, nodes x GPUs, layout (TP, PP, EP) or processes on a
# node, flags, GiB of each GPU by the comment at the top of the script. Left out: those that name a GPU's whole memory;
# megatron/lora/dense.sh with LoRA (14 GiB, 25 by estimate: its samples are far shorter than max_length);
# agent/loss_scale (20 GB, 8 GiB by estimate, for LoRA on 3B: unexplained).
TAKEN = {
    "megatron/muon.sh, adam": ("Qwen/Qwen2.5-7B-Instruct", 1, 2, (2, 1, 1),
        f"megatron sft {MEGATRON} --micro_batch_size 16 --global_batch_size 16 --max_length 2048", 78),
    "megatron/lora/dense.sh, full": ("Qwen/Qwen2.5-7B-Instruct", 1, 2, (2, 1, 1),
        f"megatron sft {MEGATRON} --micro_batch_size 16 --global_batch_size 16 --max_length 2048", 70),
    "megatron/base_to_chat.sh": ("Qwen/Qwen2.5-14B", 1, 8, (4, 1, 1),
        "megatron sft --sequence_parallel true --micro_batch_size 1 --global_batch_size 16 --max_length 8192", 65),
    "megatron/moe/qwen3_moe.sh": ("Qwen/Qwen3-30B-A3B-Base", 2, 8, (1, 2, 8),
        f"megatron sft {MEGATRON} --global_batch_size 16 --max_length 8192", 60),
    "megatron/moe/qwen3_moe_offload.sh": ("Qwen/Qwen3-30B-A3B-Base", 1, 4, (1, 1, 4),
        f"megatron sft {MEGATRON} --global_batch_size 16 --max_length 8192 --optimizer_cpu_offload true", 75),
    "megatron/lora/moe.sh": ("Qwen/Qwen3-30B-A3B", 1, 2, (1, 1, 2),
        f"megatron sft {MEGATRON} --tuner_type lora --micro_batch_size 8 --global_batch_size 16 --max_length 2048", 62),
    "megatron/mcore_bridge/lora/moe.sh": ("Qwen/Qwen3-30B-A3B-Instruct-2507", 1, 2, (1, 1, 2),
        f"megatron sft {MEGATRON} --tuner_type lora --micro_batch_size 8 --global_batch_size 16 --max_length 2048", 50),
    "megatron/multimodal/dense/full.sh": ("Qwen/Qwen2.5-VL-7B-Instruct", 1, 2, (2, 1, 1),
        f"megatron sft {MEGATRON} --global_batch_size 4 --max_length 2048", 72),
    "megatron/multimodal/dense/lora.sh": ("Qwen/Qwen2.5-VL-7B-Instruct", 1, 2, (1, 1, 1),
        f"megatron sft {MEGATRON} --tuner_type lora --global_batch_size 4 --max_length 2048", 23),
    "full/train.sh": ("Qwen/Qwen2.5-7B-Instruct", 1, 1, 1, "swift sft --tuner_type full --max_length 2048", 76),
    "agent/qwen2_5.sh": ("Qwen/Qwen2.5-3B", 1, 1, 1,
        "swift sft --tuner_type full --max_length 8192 --use_liger_kernel true", 35),
    "early_stop/lora_sft.sh": ("Qwen/Qwen2.5-7B-Instruct", 1, 1, 1, "swift sft --max_length 2048", 22),
    "qlora/bnb/train.sh": ("Qwen/Qwen2.5-7B-Instruct", 1, 1, 1, "swift sft --max_length 2048 --quant_bits 4", 10),
    "packing/llm.sh": ("Qwen/Qwen2.5-7B-Instruct", 1, 1, 1, "swift sft --max_length 2048 --packing true", 22),
    "multi-gpu/ddp": ("Qwen/Qwen2.5-7B-Instruct", 1, 2, 2, "swift sft --max_length 2048", 27.5),
    "multi-gpu/ddp_device_map": ("Qwen/Qwen2.5-7B-Instruct", 1, 4, 2, "swift sft --max_length 2048", 14),
    "multi-gpu/device_map": ("Qwen/Qwen2.5-VL-72B-Instruct", 1, 2, 1, "swift sft --max_length 2048", 76),
    "multi-gpu/deepspeed/train_zero2.sh": ("Qwen/Qwen2.5-7B-Instruct", 1, 2, 2,
        "swift sft --max_length 2048 --deepspeed zero2", 18),
    "multi-gpu/deepspeed/train_zero3.sh": ("Qwen/Qwen2.5-7B-Instruct", 1, 2, 2,
        "swift sft --max_length 2048 --deepspeed zero3", 16),
    "multi-gpu/fsdp2_lora": ("Qwen/Qwen2.5-7B-Instruct", 1, 2, 2, "swift sft --max_length 2048 --fsdp fsdp2", 14.7),
    "cached_dataset/sft.sh": ("Qwen/Qwen2.5-7B", 1, 4, 4,
        "swift sft --tuner_type full --max_length 8192 --deepspeed zero3 --use_liger_kernel true", 44),
    "flash_attention_3/transformers.sh": ("Qwen/Qwen2.5-7B", 1, 4, 4,
        "swift sft --tuner_type full --max_length 16384 --deepspeed zero3 --use_liger_kernel true", 43),
}  # fmt: skip


def estimate(model, nodes, gpus, how, line):
    shape, step = find_shape(model), training(line)
    if isinstance(how, int):
        return swift_memory(shape, step, nodes * how, how, gpus).total
    return megatron_memory(shape, step, Layout(nodes, gpus, how[0], how[1], 1, how[2])).total


@pytest.mark.parametrize("script", TAKEN)
def test_an_estimate_is_near_what_the_example_took(script):
    *asked, taken = TAKEN[script]
    assert 0.7 < estimate(*asked) / taken < 1.25


def test_estimates_are_neither_high_nor_low_on_the_whole():
    assert 0.85 < statistics.median(estimate(*asked) / taken for *asked, taken in TAKEN.values()) < 1.05


# Each saves memory against the line before it, as it should.
SAVINGS = [
    ("swift sft --tuner_type full", "swift sft --tuner_type lora"),
    ("swift sft --gradient_checkpointing false", "swift sft --gradient_checkpointing true"),
    ("swift sft --max_length 8192", "swift sft --max_length 8192 --sequence_parallel_size 4"),
    ("swift sft --tuner_type full --deepspeed zero2", "swift sft --tuner_type full --deepspeed zero2_offload"),
    ("swift sft --tuner_type full --deepspeed zero3", "swift sft --tuner_type full --deepspeed zero3_offload"),
    ("swift sft", "swift sft --quant_bits 4"),
    ("swift sft --max_length 8192", "swift sft --max_length 8192 --use_liger_kernel true"),
]


@pytest.mark.parametrize(("more", "less"), SAVINGS)
def test_what_saves_memory_is_seen_to(more, less):
    shape = find_shape("Qwen/Qwen3-8B")
    assert swift_memory(shape, training(less), 8, 8, 8).total < swift_memory(shape, training(more), 8, 8, 8).total


@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct"])
def test_a_quantized_models_embedding_and_output_layer_stay_in_16_bits(model):
    shape = find_shape(model)
    ends = shape.embedding * (1 if shape.tied else 2)
    held = swift_memory(shape, training("swift infer --quant_bits 4"), 1, 1, 1).weights * GIB
    assert held == pytest.approx(2 * ends + (shape.parameters - ends) * 4.127 / 8)


def test_a_model_on_the_cpu_holds_nothing_of_a_gpu():
    shape, line = find_shape("Qwen/Qwen2.5-7B-Instruct"), "swift export --merge_lora true"
    there, here = (swift_memory(shape, training(f"{line} --device_map {name}"), 1, 1, 1) for name in ("cpu", "auto"))
    assert (there.total, here.weights * GIB) == (0, 2 * shape.parameters)


REFERENCE = ("megatron rlhf", "swift rlhf --deepspeed zero3", "swift rlhf")


def held(line):
    shape, step = find_shape("Qwen/Qwen3-8B"), training(line)
    assert step.trains
    return megatron_memory(shape, step, Layout(1, 8, tensor=2)) if step.megatron else swift_memory(shape, step, 8, 8, 8)


@pytest.mark.parametrize("rlhf", ["dpo", "kto"])
@pytest.mark.parametrize("line", REFERENCE)
def test_a_training_of_all_weights_from_preferences_holds_its_reference_too(line, rlhf):
    alone, both = (held(f"{line} --tuner_type full --rlhf_type {kind}") for kind in ("orpo", rlhf))
    each = find_shape("Qwen/Qwen3-8B").parameters * 2 / GIB
    ways = {"megatron rlhf": 2, "swift rlhf": 1}.get(line, 8)
    assert both.weights - alone.weights == pytest.approx(each / ways, rel=1e-3)
    assert (both.gradients, both.optimizer) == (alone.gradients, alone.optimizer)


@pytest.mark.parametrize("line", REFERENCE)
def test_an_adapter_needs_no_reference_beside_the_model(line):
    dpo, orpo = (held(f"{line} --tuner_type lora --rlhf_type {kind}") for kind in ("dpo", "orpo"))
    assert dpo.weights == orpo.weights


@pytest.mark.parametrize("line", ["megatron rlhf", "swift rlhf"])
def test_a_pair_is_two_samples_of_a_pass(line):
    single, pair = (held(f"{line} --tuner_type lora --rlhf_type {kind}") for kind in ("kto", "dpo"))
    assert pair.activations == pytest.approx(2 * single.activations)


@pytest.mark.parametrize("line", ["megatron rlhf --rlhf_type grpo", "swift rlhf --rlhf_type gkd"])
def test_what_generates_or_has_a_teacher_is_not_estimated(line):
    assert not training(line).trains


@pytest.mark.parametrize(
    ("headed", "plain"),
    [("megatron sft --task_type seq_cls", "megatron sft"), ("swift rlhf --rlhf_type rm", "swift rlhf --rlhf_type orpo"),
     ("swift sft --task_type embedding", "swift sft")],
)  # fmt: skip
def test_a_model_with_a_head_has_no_layer_over_the_vocabulary(headed, plain):
    shape = find_shape("Qwen/Qwen3-8B")
    some, all_ = (held(f"{line} --tuner_type full") for line in (headed, plain))
    ways = 2 if headed.startswith("megatron") else 1
    assert (all_.weights - some.weights) * GIB == pytest.approx(2 * shape.embedding / ways)
    assert some.activations < all_.activations


LATENT = "deepseek-ai/DeepSeek-V2-Lite"


def test_one_gpu_holds_all_of_a_model_with_latent_attention():
    shape = find_shape(LATENT)
    alone = megatron_memory(shape, Training(command="export", megatron=True), Layout(1, 1))
    assert alone.weights * GIB / 2 == pytest.approx(shape.parameters - shape.hidden)  # but for the last norm


def test_what_makes_latent_attentions_narrow_vectors_is_on_every_tensor_rank():
    shape = find_shape(LATENT)
    whole, half = (megatron_memory(shape, Training(command="export"), Layout(1, 2, tensor=n)) for n in (1, 2))
    experts = shape.experts_of_layer * 26
    narrow = 27 * (2048 * (512 + 64) + 512)
    norms, routers = 27 * 2 * 2048, 26 * 64 * 2048
    assert (2 * half.weights - whole.weights) * GIB / 2 == pytest.approx(experts + narrow + norms + routers)


def test_a_first_stage_without_experts_is_not_the_fullest():
    """27 layers in 9 stages: the first has one layer without experts, the last has the output layer."""
    shape = find_shape(LATENT)
    held = megatron_memory(shape, Training(command="export"), Layout(1, 9, pipeline=9))
    three = 3 * (shape.attention + shape.replicated + shape.shared + shape.experts_of_layer + shape.router)
    assert held.weights * GIB / 2 == pytest.approx(three + shape.embedding)


def test_an_adapter_of_latent_attention_has_as_many_parameters_as_its_matrices_ask_for():
    """q, the two of keys and values, and the output: in + out of each, 27 times; 1 MLP, 26 shared, 26 x 64 experts."""
    attention = (2048 + 16 * 192) + (2048 + 576) + (512 + 16 * 256) + (16 * 128 + 2048)
    of_layers, of_experts = lora_parameters(find_shape(LATENT), 8)
    assert of_layers == 8 * (27 * attention + 3 * (2048 + 10944) + 26 * 3 * (2048 + 2816))
    assert of_experts == 8 * 26 * 64 * 3 * (2048 + 1408)


def test_a_later_pipeline_stage_holds_fewer_passes_but_the_logits():
    shape, step = find_shape("Qwen/Qwen3-8B"), training("megatron sft --max_length 32768 --global_batch_size 64")
    none, some = (megatron_memory(shape, step, Layout(1, 8, pipeline=p)) for p in (1, 4))
    assert some.weights < none.weights
    assert some.activations < none.activations


def test_a_deepspeed_config_of_ones_own_is_read(tmp_path):
    (tmp_path / "mine.json").write_text('{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}')
    step = read_training(["swift", "sft", "--deepspeed", "mine.json"], tmp_path)
    assert (step.zero, step.optimizer_offload, step.param_offload) == (2, 1.0, False)


@pytest.mark.parametrize(
    "line",
    [
        "swift sft train.yaml --max_length 512",
        "torchrun --nproc_per_node 2 -m swift.cli.sft train.yaml --max_length 512",
        "accelerate launch --config_file other.yaml -m swift.cli.sft train.yaml --max_length 512",
        "python /opt/swift/cli/sft.py train.yaml --max_length 512",
    ],
)
def test_a_training_is_known_however_it_is_launched(tmp_path, line):
    (tmp_path / "train.yaml").write_text("max_length: 256\nper_device_train_batch_size: 4\ntuner_type: full\n")
    (tmp_path / "other.yaml").write_text("per_device_train_batch_size: 9\n")
    step = read_training(line.split(), tmp_path)
    assert (step.command, step.sequence, step.micro, step.full) == ("sft", 512, 4, True)
