"""Which checkpoint of a training is whole, judged by what lies in it. A torn one is passed over, with the reason.

Standard library only: the lab imports it, a stack's image runs it on a host, and so does a job's script:

    python checkpoints.py FOLDER WORLD     prints the last whole checkpoint; which were passed over on stderr
"""

from __future__ import annotations

import json
import pickle
import re
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = re.compile(r"checkpoint-(\d+)")
MEGATRON = "latest_checkpointed_iteration.txt"
STATE = "trainer_state.json"
# What torch.save writes: a zip archive with a checksum of each tensor. Of *.bin only these: tokenizers have others.
ARCHIVES = ("*.pt", "*.pth", "pytorch_model*.bin", "adapter_model.bin", "optimizer*.bin", "training_args.bin")
WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin", "pytorch_model_fsdp_0", "global_step*")


class Torn(ValueError):
    """Something is missing or cut off; the message says what, in a few words."""


@dataclass(frozen=True)
class Search:
    """The last whole checkpoint of a training, None where there is none; of the newer ones the name and what is wrong,
    the newest first."""

    whole: Path | None
    torn: list[tuple[str, str]]


def search(out: Path, world: int = 1) -> Search:
    """Look through the checkpoints below `out`, the newest first; `world` is how many processes trained."""
    torn: list[tuple[str, str]] = []
    for folder in reversed(checkpoints(out)):
        wrong = fault(folder, world)
        if not wrong:
            return Search(folder, torn)
        torn.append((folder.name, wrong))
    return Search(None, torn)


def checkpoints(out: Path) -> list[Path]:
    """The folders of the checkpoints below `out`, whole or not, the oldest first."""
    found = [folder for folder in out.rglob("checkpoint-*") if NAME.fullmatch(folder.name)]
    return sorted((f for f in found if f.is_dir() and not f.is_symlink()), key=step_of)


def fault(checkpoint: Path, world: int = 1) -> str | None:
    """What is wrong with a checkpoint, in a few words; None when it is whole."""
    try:
        must_be_whole(checkpoint, world)
    except (Torn, OSError) as error:
        return str(error)
    return None


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was saved."""
    return int(checkpoint.name.rpartition("-")[2])


def must_be_whole(checkpoint: Path, world: int = 1) -> None:
    """Raise Torn where a training can't go on from a checkpoint as if it had never stopped."""
    if (checkpoint / MEGATRON).exists() or list(checkpoint.glob("iter_*")):
        _megatron(checkpoint)
    else:
        _trainer(checkpoint, world)
    for index in checkpoint.rglob("*.index.json"):
        for shard in sorted(set(_json(index).get("weight_map", {}).values())):
            _there(index.parent / shard)
    for metadata in checkpoint.rglob(".metadata"):
        _shards(metadata)
    for weights in sorted(checkpoint.rglob("*.safetensors")):
        tensors(weights)
    for pattern in ARCHIVES:
        for archive in sorted(checkpoint.rglob(pattern)):
            _archive(archive)


def tensors(file: Path) -> tuple[dict[str, Any], int]:
    """A safetensors file's tensors (name -> dtype, shape, data_offsets) and where in the file their data begins.

    Raises Torn where the file is not as long as its header says.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        begin = 8 + int.from_bytes(stream.read(8), "little")
        try:
            header: dict[str, Any] = json.loads(stream.read(begin - 8)) if begin <= size else {}
        except ValueError:
            header = {}
    header.pop("__metadata__", None)
    if not header:
        raise Torn(f"{file.name} holds no tensors")
    if (whole := begin + max(entry["data_offsets"][1] for entry in header.values())) != size:
        raise Torn(f"{file.name} has {size} bytes of {whole}")
    return header, begin


def _trainer(checkpoint: Path, world: int) -> None:
    """What transformers' Trainer leaves, its state last: weights, optimizer, scheduler, each rank's random numbers."""
    said = _json(checkpoint / STATE).get("global_step")
    if said != step_of(checkpoint):
        raise Torn(f"{STATE} names step {said}")
    if not any(list(checkpoint.glob(pattern)) for pattern in WEIGHTS):
        raise Torn("no weights")
    deepspeed = (checkpoint / "latest").exists() or bool(list(checkpoint.glob("global_step*")))
    if deepspeed:
        _deepspeed(checkpoint, world)
    elif not list(checkpoint.glob("optimizer*")):
        raise Torn("no optimizer's state (saved with save_only_model?)")
    else:
        _there(checkpoint / "scheduler.pt")
    if not (world == 1 and (checkpoint / "rng_state.pth").exists()):
        _every_rank(checkpoint.glob("rng_state_*.pth"), r"rng_state_(\d+)", world, "rng_state")


def _deepspeed(checkpoint: Path, world: int) -> None:
    """`latest`, written last, names a folder with the model's states and each rank's part of the optimizer's."""
    folder = checkpoint / _text(checkpoint / "latest")
    if not list(folder.glob("*model_states.pt")):
        raise Torn(f"no model states in {folder.name}")
    for kind in ("model_states", "optim_states"):
        if parts := list(folder.glob(f"*zero_pp_rank_*{kind}.pt")):  # without ZeRO the model's states hold all
            _every_rank(parts, r"zero_pp_rank_(\d+)_", world, kind)


def _megatron(checkpoint: Path) -> None:
    """The tracker, written after the parts, names the folder of the iteration."""
    said = _text(checkpoint / MEGATRON)
    if said != str(step_of(checkpoint)):
        raise Torn(f"{MEGATRON} names iteration {said}")
    folder = checkpoint / f"iter_{int(said):07d}"
    _there(folder / ".metadata")


def _every_rank(files: Iterable[Path], pattern: str, world: int, what: str) -> None:
    """Where it is one process for all we know, as many ranks as there are count; but there must be one."""
    ranks = {int(match[1]) for file in files if (match := re.search(pattern, file.name))}
    needed = max(world, *ranks, 1) if world > 1 else max(ranks, default=0) + 1
    if missing := set(range(needed)) - ranks:
        raise Torn(f"no {what} of rank {min(missing)}")


def _shards(metadata: Path) -> None:
    """torch.distributed.checkpoint: the metadata say where in which file each part lies."""
    try:
        with metadata.open("rb") as stream:
            parts = _Parts(stream).load().storage_data.values()
        ends: dict[str, int] = {}
        for part in parts:
            ends[part.relative_path] = max(ends.get(part.relative_path, 0), part.offset + part.length)
    except Exception:  # a torn pickle can end in any way
        raise Torn(f"{metadata.parent.name}/.metadata is torn") from None
    for name, end in sorted(ends.items()):
        file = metadata.parent / name
        _there(file)
        if file.stat().st_size < end:
            raise Torn(f"{metadata.parent.name}/{name} has {file.stat().st_size} bytes of {end}")


class _Parts(pickle.Unpickler):
    """Reads a checkpoint's metadata without torch, and without running anything that the pickle names."""

    def find_class(self, module: str, name: str) -> type:
        return type(name, (_Anything,), {})


class _Anything:
    """Stands for whatever class a pickle names; keeps its attributes."""

    def __new__(cls, *_: Any, **__: Any) -> _Anything:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.__dict__.update(state)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def _archive(file: Path) -> None:
    """Every byte is read: after a crash a file may have its length and zeros in it."""
    _there(file)
    try:
        with zipfile.ZipFile(file) as archive:
            if bad := archive.testzip():
                raise Torn(f"{file.name} is torn at {bad}")
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise Torn(f"{file.name} is torn") from None


def _there(file: Path) -> None:
    if not file.is_file():
        raise Torn(f"no {file.name}")
    if not file.stat().st_size:
        raise Torn(f"{file.name} is empty")


def _text(file: Path) -> str:
    _there(file)
    return file.read_text(encoding="utf-8", errors="replace").strip()


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(file))
    except ValueError as error:
        raise error if isinstance(error, Torn) else Torn(f"{file.name} is torn") from None
    return found if isinstance(found, dict) else {}


def main() -> None:
    """Print the last whole checkpoint, nothing where there is none."""
    found = search(Path(sys.argv[1]), int(sys.argv[2]))
    for name, why in found.torn:
        print(f"{name} is passed over: {why}", file=sys.stderr)
    if found.whole:
        print(f"goes on from {found.whole.name}", file=sys.stderr)
        print(found.whole)


if __name__ == "__main__":
    main()
