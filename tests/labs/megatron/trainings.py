"""Run by the stack megatron-cpu: trainings of one twin, each in forked ranks of this one process, their losses as JSON.

python trainings.py MODEL EXPERTS LATENT DATA OUT [RANKS ...]: EXPERTS is a model that has some, LATENT one with latent
attention. With RANKS every way for so many ranks to share EXPERTS out is tried instead (benchmarks/layouts.py).
"""

from __future__ import annotations

import gc
import importlib
import itertools
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MODEL, EXPERTS, LATENT, DATA, OUT = *sys.argv[1:5], Path(sys.argv[5])
RANKS = [int(ranks) for ranks in sys.argv[6:]]
sys.argv = sys.argv[:1]

from swift.megatron import megatron_rlhf_main, megatron_sft_main  # noqa: E402

LIMIT = 120  # seconds of a training
LINE = {
    "model": MODEL, "dataset": f"{DATA}#96", "tuner_type": "full", "lr": "3e-3", "min_lr": "3e-4", "max_length": "256",
    "num_train_epochs": "1", "micro_batch_size": "4", "global_batch_size": "8", "finetune": "true", "seed": "42",
    "no_save_optim": "true", "no_save_rng": "true", "save_steps": "1000", "logging_steps": "1",
    "add_version": "false", "ddp_backend": "gloo", "torch_dtype": "float32", "fp16": "false", "bf16": "false",
    "check_model": "false", "dataloader_num_workers": "0", "attention_backend": "auto",
    "external_plugins": str(Path(__file__).parents[3] / "gpulab/inside/megatron_rank_report.py"),
    "callbacks": "rank_report",
}  # fmt: skip


def no_dgrad_all_reduce() -> None:
    """A column parallel layer's input gradients are not added up."""
    from megatron.core.tensor_parallel import mappings

    mappings.copy_to_tensor_model_parallel_region = lambda x, group=None: x


def no_row_reduction() -> None:
    """A row parallel layer's outputs are not added up."""
    from megatron.core.tensor_parallel import mappings

    mappings.reduce_from_tensor_model_parallel_region = lambda x, group=None: x


def wrong_context_positions() -> None:
    """Ranks of a context parallel group take what they hold for whole pieces, in order."""
    from transformer_engine.pytorch import attention

    def in_order(starts: Any, total: int, size: int, rank: int) -> Any:
        import torch

        return torch.arange(rank * total // size, (rank + 1) * total // size)

    attention.held = in_order


def no_all_reduce_of_tied_embeddings() -> None:
    """The first and the last stage each train their own copy of one weight."""
    # import_module, for the package has a function of the module's name
    module = importlib.import_module("megatron.core.distributed.finalize_model_grads")
    module._allreduce_word_embedding_grads = lambda *args, **kwargs: None  # type: ignore[attr-defined]


def experts_swapped() -> None:
    """A rank's experts compute each other's tokens."""
    from transformer_engine.pytorch.linear import GroupedLinear

    forward = GroupedLinear.forward

    def swapped(self: Any, x: Any, m_splits: Any, *args: Any, **more: Any) -> Any:
        import torch

        counts = m_splits.tolist() if isinstance(m_splits, torch.Tensor) else list(m_splits)
        done = forward(self, torch.cat(x.split(counts)[::-1]), counts[::-1], *args, **more)
        parts, *bias = done if isinstance(done, tuple) else (done,)
        back = torch.cat(parts.split(counts[::-1])[::-1])
        return (back, *bias) if bias else back

    GroupedLinear.forward = swapped


def more_connections() -> None:
    """Megatron-FSDP refuses the one that ms-swift sets."""
    os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] = "8"


AXES = (
    "tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size", "expert_model_parallel_size",
)  # fmt: skip
TENSOR, PIPELINE = {"tensor_model_parallel_size": "2"}, {"pipeline_model_parallel_size": "2"}
CONTEXT, EXPERT = {"context_parallel_size": "2"}, {"expert_model_parallel_size": "2"}
# No clipping: under tensor parallelism the gradients' norm leaves experts out (Megatron-LM#5916).
MIXTURE = {"model": EXPERTS, "moe_grouped_gemm": "true", "moe_aux_loss_coeff": "0", "clip_grad": "0"}
MIXTURE_IN_HALVES = {**MIXTURE, **TENSOR, "sequence_parallel": "true"}
PAIRS, CLASSES = (Path(DATA).parent / name for name in ("preferences/pairs.jsonl", "scores/classes.jsonl"))
PREFERENCES = {"rlhf_type": "dpo", "dataset": f"{PAIRS}#16", **TENSOR}
TRAININGS: dict[str, tuple[int, dict[str, str], Any]] = {
    "single": (1, {}, None),
    "still": (1, {"lr": "0", "min_lr": "0", "dataset": f"{DATA}#16"}, None),
    "data": (2, {}, None),
    "tensor": (2, TENSOR, None),
    "tensor and sequence": (2, {**TENSOR, "sequence_parallel": "true"}, None),
    "pipeline": (2, PIPELINE, None),
    "sharded": (2, {"use_megatron_fsdp": "true"}, more_connections),
    "muon": (
        2,
        {"optimizer": "dist_muon", "bf16": "true", "torch_dtype": "bfloat16", "dataset": f"{DATA}#16", **TENSOR},
        None,
    ),
    "context": (2, CONTEXT, None),
    "experts, single": (1, MIXTURE, None),
    "experts": (2, {**MIXTURE, **EXPERT}, None),
    "experts and tensor": (2, {**MIXTURE_IN_HALVES, **EXPERT}, None),
    "latent, single": (1, {**MIXTURE, "model": LATENT}, None),
    "latent in halves": (2, {**MIXTURE_IN_HALVES, **EXPERT, "model": LATENT}, None),
    "preferences": (2, PREFERENCES, None),
    "preferences, an adapter": (2, {**PREFERENCES, "tuner_type": "lora"}, None),
    "classes": (2, {"task_type": "seq_cls", "num_labels": "2", "dataset": f"{CLASSES}#16", **PIPELINE}, None),
    "no dgrad all-reduce": (2, TENSOR, no_dgrad_all_reduce),
    "no row reduction": (2, TENSOR, no_row_reduction),
    "wrong context positions": (2, CONTEXT, wrong_context_positions),
    "no all-reduce of tied embeddings": (2, PIPELINE, no_all_reduce_of_tied_embeddings),
    "experts swapped": (2, {**MIXTURE, **EXPERT}, experts_swapped),
    "experts trained apart": (2, MIXTURE_IN_HALVES, None),
}
BATCH = 24 if 8 in RANKS else 12  # what all the ranks can share out, in two steps
SHARED_OUT = {
    **MIXTURE, "sequence_parallel": "true", "dataset": f"{DATA}#{2 * BATCH}", "micro_batch_size": "1",
    "global_batch_size": str(BATCH),
}  # fmt: skip
# Some ways for more than two ranks: the size of each dimension.
MORE = {3: ["1x1x3x1"], 4: ["2x2x1x2", "2x1x1x4", "1x2x2x1"]}


def divisors(ranks: int) -> list[str]:
    """The sizes that a dimension can have."""
    return [str(size) for size in range(1, ranks + 1) if ranks % size == 0]


def shared_out(ranks: int, layouts: Iterable[str]) -> dict[str, tuple[int, dict[str, str], Any]]:
    """A training of each layout."""
    flags = {layout: dict(zip(AXES, layout.split("x"), strict=True)) for layout in layouts}
    return {f"{ranks} ranks, {layout}": (ranks, {**SHARED_OUT, **flags[layout]}, None) for layout in layouts}


def every_layout(ranks: int) -> list[str]:
    """Each combination of sizes, possible or not."""
    return ["x".join(sizes) for sizes in itertools.product(divisors(ranks), repeat=len(AXES))]


if RANKS:
    TRAININGS = {}
    for ranks in {1, *RANKS}:
        TRAININGS |= shared_out(ranks, every_layout(ranks))
else:
    TRAININGS |= shared_out(1, ["1x1x1x1"]) | shared_out(2, every_layout(2))
    for ranks, some in MORE.items():
        TRAININGS |= shared_out(ranks, some)


def free_port() -> int:
    """One on which the ranks can meet."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def rank(number: int, world: int, port: int, line: dict[str, str], spoil: Any, log: Path) -> int:
    """One rank's training, its exit status."""
    os.environ.update(
        RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NPROC_PER_NODE=str(world),
    )  # fmt: skip
    signal.alarm(LIMIT)  # a rank whose peer failed waits for it
    with log.open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        try:
            if spoil:
                spoil()
            main = megatron_rlhf_main if "rlhf_type" in line else megatron_sft_main
            main([word for flag, value in line.items() for word in (f"--{flag}", value)])
        except BaseException:
            traceback.print_exc()
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def train(name: str) -> list[float] | str:
    """The losses of one training, or the end of the log of a rank that failed."""
    world, flags, spoil = TRAININGS[name]
    out, port, ranks = OUT / name.replace(" ", "-"), free_port(), []
    for number in range(world):
        log = OUT / f"{out.name}-{number}.log"
        pid = os.fork()
        if pid == 0:
            os._exit(rank(number, world, port, {**LINE, **flags, "output_dir": str(out)}, spoil, log))
        ranks.append((pid, log))
    for pid, log in ranks:
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            return log.read_text(errors="replace")[-2000:]
    rows = map(json.loads, (out / "logging.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


if __name__ == "__main__":
    ends: Any = importlib.import_module("swift.megatron.pipelines.train.sft")
    ends.plot_images = lambda *_: None  # nobody looks at curves that take as long as their training
    gc.collect()
    gc.freeze()  # a rank's collections of garbage look at none of it, or all of it would be copied
    losses = {}
    for name in TRAININGS:
        began = time.monotonic()
        losses[name] = train(name)
        print(name, f"{time.monotonic() - began:.1f} s", "ended early" * isinstance(losses[name], str), flush=True)
    (OUT / "losses.json").write_text(json.dumps(losses))
