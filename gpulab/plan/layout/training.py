"""What of a step's flags decides how it is laid out and what memory it takes, in ms-swift's own names and defaults."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.common.errors import UsageError
from gpulab.common.numbers import whole
from gpulab.lab import flags

COMMAND = re.compile(r"\b(swift|megatron)(?:[ ./]cli)?(?:[ ./]_megatron)?[ ./]([a-z][a-z-]+)\b")
TRAINS = ("sft", "pt")
REFERRED = ("dpo", "kto")  # a training of all weights holds the model a second time, frozen (ms-swift's rlhf_args.py)
PAIRED = ("dpo", "rm", "cpo", "orpo", "simpo")  # each sample is two: the better answer and the worse
HEADED = ("seq_cls", "embedding", "reranker")  # no output layer over the vocabulary
UNSTATED = 2048  # tokens counted where max_length is not set: ms-swift then cuts at the model's own limit


@dataclass(frozen=True)
class Training:
    """One step as its flags have it; `zero` is DeepSpeed's stage, and 3 for FSDP, which shards the same.

    `micro` samples of `sequence` tokens are in one forward pass of a GPU; `batch` is Megatron's global batch.
    `serving_ways` is over how many GPUs an inference engine spreads the model, 0 where transformers does it. `rlhf` is
    the algorithm's name, `headed` a model whose output is a few numbers and no vocabulary. `language`, `tower` and
    `aligner` say what of a model that sees is trained, `predicted` how many tokens more than the next one.
    `quant_bits` is what a weight of a layer has while it is frozen, 0 where it is not quantized; `on_cpu` is a model
    that is on no GPU.
    """

    command: str = ""
    rlhf: str = ""
    headed: bool = False
    megatron: bool = False
    full: bool = True
    lora_rank: int = 8
    sequence: int = UNSTATED
    micro: int = 1
    batch: int = 16
    recompute: bool = False
    sequence_parallel: bool = False
    shards_optimizer: bool = True
    optimizer_offload: float = 0.0
    param_offload: bool = False
    zero: int = 0
    fsdp: bool = False
    weight_bytes: float = 2.0
    quant_bits: int = 0
    on_cpu: bool = False
    fused_loss: bool = False
    dense_attention: bool = False
    first_layers: int | None = None
    last_layers: int | None = None
    virtual: int = 1
    serving_ways: int = 0
    language: bool = True
    tower: bool = False
    aligner: bool = False
    predicted: int = 0

    @property
    def trains(self) -> bool:
        """Whether it is a training whose memory is understood: not of RLHF what generates or has a teacher."""
        return self.command in TRAINS or self.rlhf in {*REFERRED, *PAIRED}

    @property
    def references(self) -> int:
        """How many frozen copies of the model are held beside it; with LoRA it is its own, the adapter off."""
        return int(self.full and self.rlhf in REFERRED)

    @property
    def samples(self) -> int:
        """How many samples are in one forward pass."""
        return self.micro * (2 if self.rlhf in PAIRED else 1)


def read_training(argv: Sequence[str], folder: Path) -> Training:
    """What a command line says of its training; `folder` is where its files are."""
    match = COMMAND.search(" ".join(argv))
    f = _Flags(flags.read(argv, folder))
    if match is None:
        return Training()
    rlhf = f.word("rlhf_type", "dpo") if match[2] == "rlhf" else ""
    headed = rlhf == "rm" or f.word("task_type", "") in HEADED
    trained = {
        "language": not f.on("freeze_llm", False),
        "tower": not f.on("freeze_vit", True),
        "aligner": not f.on("freeze_aligner", True),
    }
    if match[1] == "megatron":
        return Training(
            command=match[2],
            rlhf=rlhf,
            headed=headed,
            megatron=True,
            full=f.word("tuner_type", "full") == "full",
            lora_rank=f.number("lora_rank", 8),
            sequence=f.number("max_length", UNSTATED),
            micro=f.number("micro_batch_size", 1),
            batch=f.number("global_batch_size", 16),
            recompute=f.word("recompute_granularity", "selective") == "full",
            sequence_parallel=f.on("sequence_parallel", False),
            shards_optimizer=f.on("use_distributed_optimizer", True),
            optimizer_offload=f.fraction("optimizer_offload_fraction") if f.on("optimizer_cpu_offload", False) else 0.0,
            dense_attention=f.word("attention_backend", "flash") in ("unfused", "local"),
            first_layers=f.maybe("decoder_first_pipeline_num_layers"),
            last_layers=f.maybe("decoder_last_pipeline_num_layers"),
            virtual=f.number("virtual_pipeline_model_parallel_size", 1),
            predicted=f.number("mtp_num_layers", 0),
            **trained,
        )
    stage, optimizer, param = _deepspeed(f.word("deepspeed", ""), folder)
    return Training(
        command=match[2],
        rlhf=rlhf,
        headed=headed,
        full=f.word("tuner_type", "lora") == "full",
        lora_rank=f.number("lora_rank", 8),
        sequence=f.number("max_length", UNSTATED) // f.number("sequence_parallel_size", 1),
        micro=f.number("per_device_train_batch_size", 1),
        recompute=f.on("gradient_checkpointing", True) or bool(f.word("fsdp", "")),
        optimizer_offload=optimizer,
        param_offload=param,
        zero=3 if f.word("fsdp", "") else stage,
        fsdp=bool(f.word("fsdp", "")),
        weight_bytes=4.0 if f.word("torch_dtype", "") == "float32" else 2.0,
        quant_bits=f.number("quant_bits", 0, least=0),
        on_cpu=f.word("device_map", "") == "cpu",
        fused_loss=f.on("use_liger_kernel", False),
        dense_attention=f.word("attn_impl", "") == "eager",
        serving_ways=_serving_ways(f),
        **trained,
    )


def _deepspeed(name: str, folder: Path) -> tuple[int, float, bool]:
    """(stage, the part of the optimizer that is offloaded, whether the weights are): of ms-swift's `zero2` and so on,
    or of a JSON file in DeepSpeed's own form."""
    if match := re.fullmatch(r"zero(\d)(_offload)?", name):
        offloads = bool(match[2])
        return int(match[1]), float(offloads), offloads and match[1] == "3"
    path = folder / name
    if not name or not path.is_file():
        return 0, 0.0, False
    said = json.loads(path.read_text(encoding="utf-8")).get("zero_optimization", {})
    away = [said.get(f"offload_{what}", {}).get("device", "none") != "none" for what in ("optimizer", "param")]
    return int(said.get("stage", 0)), float(away[0]), away[1]


def _serving_ways(f: _Flags) -> int:
    engine = f.word("infer_backend", "transformers")
    if engine in ("transformers", "pt"):
        return 0
    name = {"sglang": "sglang_tp_size", "lmdeploy": "lmdeploy_tp"}.get(engine, "vllm_tensor_parallel_size")
    return f.number(name, 1) * f.number("vllm_pipeline_parallel_size", 1)


class _Flags:
    """Flags as numbers, words and switches; what is no number yet (a placeholder) counts as not given."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def word(self, name: str, default: str) -> str:
        value = self._given.get(name)
        return default if value in (None, [], "") else str(value)

    def number(self, name: str, default: int, least: int = 1) -> int:
        """A size. Raises UsageError where it is too small to be one."""
        value = self.maybe(name)
        if value is not None and value < least:
            raise UsageError(f"{name}={value} is no size", f"a whole number from {least} on")
        return default if value is None else value

    def fraction(self, name: str) -> float:
        """A part of a whole, all of it where none is given. Raises UsageError where it is none."""
        word = self.word(name, "1")
        with contextlib.suppress(ValueError):
            if 0 <= (value := float(word)) <= 1:
                return value
        raise UsageError(f"{name}={word} is no part of a whole", "a number from 0 to 1")

    def maybe(self, name: str) -> int | None:
        return whole(self.word(name, ""))

    def on(self, name: str, default: bool) -> bool:
        if self._given.get(name) == []:  # --flag, with no value
            return True
        return self.word(name, str(default)).lower() in ("true", "1", "yes")
