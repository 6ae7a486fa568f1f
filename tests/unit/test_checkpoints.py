"""Which checkpoint is whole: of each layout one that is, and everything that can be torn about it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpulab.inside import checkpoints
from gpulab.inside.checkpoints import fault, search

Tear = Callable[[Path], None]


def archive(path: Path, size: int = 4000) -> None:
    """As torch.save writes it: a zip whose entries are stored as they are, each with a checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"x" * size)
        file.writestr("archive/version", b"3")


def weights(path: Path, size: int = 400) -> None:
    header = json.dumps({"__metadata__": {}, "a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(size))


def trainer(folder: Path, step: int = 10, world: int = 1) -> Path:
    """What transformers' Trainer leaves."""
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    weights(checkpoint / "model-00001-of-00002.safetensors")
    weights(checkpoint / "model-00002-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin"):
        archive(checkpoint / name)
    for name in ["rng_state.pth"] if world == 1 else [f"rng_state_{rank}.pth" for rank in range(world)]:
        archive(checkpoint / name)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))
    return checkpoint


def deepspeed(folder: Path) -> Path:
    """ZeRO-3 on two ranks."""
    checkpoint = trainer(folder, world=2)
    for file in checkpoint.glob("model*"):
        file.unlink()
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / "scheduler.pt").unlink()
    for rank in (0, 1):
        archive(checkpoint / "global_step10" / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        archive(checkpoint / "global_step10" / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (checkpoint / "latest").write_text("global_step10")
    return checkpoint


class Info:
    """As torch.distributed.checkpoint pickles it, for a reader that may not know the class."""

    def __init__(self, **known: Any) -> None:
        self.__dict__.update(known)


def sharded(folder: Path) -> None:
    """A folder of torch.distributed.checkpoint: two parts in the first file, one in the second."""
    folder.mkdir(parents=True)
    (folder / "__0_0.distcp").write_bytes(bytes(30))
    (folder / "__1_0.distcp").write_bytes(bytes(10))
    parts = [("__0_0.distcp", 0, 20), ("__0_0.distcp", 20, 10), ("__1_0.distcp", 0, 10)]
    stored = {n: Info(relative_path=file, offset=at, length=n_) for n, (file, at, n_) in enumerate(parts)}
    (folder / ".metadata").write_bytes(pickle.dumps(Info(storage_data=stored)))


def fsdp(folder: Path) -> Path:
    checkpoint = trainer(folder, world=2)
    for file in checkpoint.glob("model*"):
        file.unlink()
    (checkpoint / "optimizer.pt").unlink()
    sharded(checkpoint / "pytorch_model_fsdp_0")
    sharded(checkpoint / "optimizer_0")
    return checkpoint


def megatron(folder: Path) -> Path:
    checkpoint = folder / "checkpoint-10"
    sharded(checkpoint / "iter_0000010")
    archive(checkpoint / "iter_0000010" / "common.pt")
    weights(checkpoint / "model.safetensors")
    (checkpoint / "latest_checkpointed_iteration.txt").write_text("10")
    return checkpoint


def without(name: str) -> Tear:
    return lambda checkpoint: (checkpoint / name).unlink()


def cut(name: str, by: int = 1) -> Tear:
    def tear(checkpoint: Path) -> None:
        data = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(data[:-by])

    return tear


def zeroed(name: str) -> Tear:
    """Of full length, with zeros where a crash came before the data did."""

    def tear(checkpoint: Path) -> None:
        data = bytearray((checkpoint / name).read_bytes())
        data[1000:2000] = bytes(1000)
        (checkpoint / name).write_bytes(data)

    return tear


def saying(name: str, text: str) -> Tear:
    return lambda checkpoint: (checkpoint / name).write_text(text) and None


TEARS: list[tuple[Callable[[Path], Path], Tear, str]] = [
    (trainer, without("trainer_state.json"), "no trainer_state.json"),
    (trainer, saying("trainer_state.json", '{"global_st'), "trainer_state.json is torn"),
    (trainer, saying("trainer_state.json", ""), "trainer_state.json is empty"),
    (trainer, saying("trainer_state.json", '{"global_step": 9}'), "names step 9"),
    (trainer, cut("model-00002-of-00002.safetensors"), "model-00002-of-00002.safetensors has "),
    (trainer, saying("model-00001-of-00002.safetensors", ""), "is empty"),
    (trainer, without("model-00002-of-00002.safetensors"), "no model-00002-of-00002.safetensors"),
    (trainer, cut("optimizer.pt"), "optimizer.pt is torn"),
    (trainer, zeroed("optimizer.pt"), "optimizer.pt is torn"),
    (trainer, without("optimizer.pt"), "no optimizer's state"),
    (trainer, without("scheduler.pt"), "no scheduler.pt"),
    (trainer, cut("rng_state.pth", 100), "rng_state.pth is torn"),
    (trainer, without("rng_state.pth"), "no rng_state of rank 0"),
    (fsdp, without("rng_state_1.pth"), "no rng_state of rank 1"),
    (fsdp, without("optimizer_0/__1_0.distcp"), "no __1_0.distcp"),
    (fsdp, cut("optimizer_0/__0_0.distcp"), "optimizer_0/__0_0.distcp has 29 bytes of 30"),
    (fsdp, cut("pytorch_model_fsdp_0/.metadata", 5), "pytorch_model_fsdp_0/.metadata is torn"),
    (deepspeed, without("latest"), "no latest"),
    (deepspeed, saying("latest", "global_step11"), "no model states in global_step11"),
    (deepspeed, without("global_step10/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"), "no optim_states of rank 1"),
    (deepspeed, without("global_step10/zero_pp_rank_0_mp_rank_00_model_states.pt"), "no model_states of rank 0"),
    (deepspeed, zeroed("global_step10/zero_pp_rank_1_mp_rank_00_model_states.pt"), "rank_00_model_states.pt is torn"),
    (megatron, without("latest_checkpointed_iteration.txt"), "no latest_checkpointed_iteration.txt"),
    (megatron, saying("latest_checkpointed_iteration.txt", "5"), "names iteration 5"),
    (megatron, without("iter_0000010/.metadata"), "no .metadata"),
    (megatron, without("iter_0000010/__0_0.distcp"), "no __0_0.distcp"),
    (megatron, cut("iter_0000010/common.pt"), "common.pt is torn"),
]


def world_of(make: Callable[[Path], Path]) -> int:
    return 2 if make in (fsdp, deepspeed) else 1


@pytest.mark.parametrize("make", [trainer, fsdp, deepspeed, megatron])
def test_a_whole_checkpoint_is_whole(tmp_path, make):
    assert fault(make(tmp_path), world_of(make)) is None


@pytest.mark.parametrize(("make", "tear", "why"), TEARS)
def test_a_torn_checkpoint_is_told_by_what_is_wrong(tmp_path, make, tear, why):
    checkpoint = make(tmp_path)
    tear(checkpoint)
    assert why in (fault(checkpoint, world_of(make)) or "whole")


def test_the_last_whole_one_is_found_and_what_is_newer_is_told(tmp_path):
    for step in (2, 10, 100):
        trainer(tmp_path / "out", step)
    cut("optimizer.pt")(tmp_path / "out" / "checkpoint-100")
    (tmp_path / "out" / "last-checkpoint").symlink_to("checkpoint-100")
    found = search(tmp_path / "out")
    assert found.whole == tmp_path / "out" / "checkpoint-10"
    assert found.torn == [("checkpoint-100", "optimizer.pt is torn")]


def test_a_checkpoint_of_fewer_ranks_than_train_is_torn(tmp_path):
    assert "rank 2" in (fault(trainer(tmp_path, world=2), 3) or "whole")


def test_a_pickle_that_would_run_something_runs_nothing(tmp_path):
    """The metadata are read with every class in it replaced."""
    checkpoint = fsdp(tmp_path)

    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    (checkpoint / "optimizer_0" / ".metadata").write_bytes(pickle.dumps(Harm()))
    assert fault(checkpoint, 2) == "optimizer_0/.metadata is torn"
    assert not (tmp_path / "harm").exists()


def test_as_a_program_it_prints_the_folder_and_says_what_it_passed_over(tmp_path):
    trainer(tmp_path, 2)
    cut("trainer_state.json", 5)(trainer(tmp_path, 4))
    done = subprocess.run(
        [sys.executable, "-I", checkpoints.__file__, tmp_path, "1"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path}/checkpoint-2\n"
    assert "checkpoint-4 is passed over: trainer_state.json is torn" in done.stderr
