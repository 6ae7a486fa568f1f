"""Read safetensors without torch, tensor by tensor: what proofs compare.

The format's own library reads into numpy, which knows no bfloat16, the dtype of most real checkpoints.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from gpulab.checks.registry import Unproven
from gpulab.inside.checkpoints import Torn, tensors

Array = np.ndarray[Any, Any]
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


class Weights:
    """The tensors of a folder's *.safetensors files (or of one file), read when asked for.

    Raises Unproven where there is none or one is torn.
    """

    def __init__(self, path: Path) -> None:
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path] if path.is_file() else []
        if not files:
            raise Unproven(f"no *.safetensors in {path}")
        self._where: dict[str, tuple[Path, str, list[int], int, int]] = {}
        for file in files:
            try:
                header, begin = tensors(file)
            except Torn as error:
                raise Unproven(f"{file.parent} is torn: {error}") from None
            for name, entry in header.items():
                start, end = entry["data_offsets"]
                self._where[name] = (file, entry["dtype"], entry["shape"], begin + start, end - start)

    @property
    def names(self) -> list[str]:
        """Every tensor's name."""
        return sorted(self._where)

    def dtype(self, name: str) -> str:
        """How one tensor's numbers are kept, in the format's own words: F32, I32, F8_E4M3."""
        return self._where[name][1]

    def raw(self, name: str) -> bytes:
        """One tensor's bytes."""
        file, _, _, start, size = self._where[name]
        with file.open("rb") as stream:
            stream.seek(start)
            return stream.read(size)

    def digest(self, name: str) -> str:
        """SHA-256 of one tensor's bytes."""
        return hashlib.sha256(self.raw(name)).hexdigest()

    def array(self, name: str) -> Array:
        """One tensor as float32, whatever its dtype (bfloat16 is the upper half of a float32)."""
        _, dtype, shape, _, _ = self._where[name]
        flat = np.frombuffer(self.raw(name), DTYPES[dtype])
        if dtype == "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.astype(np.float32).reshape(shape)

    def changed_from(self, base: Weights) -> tuple[list[str], list[str]]:
        """(changed, same): the tensors that both have, by whether their values differ (dtype set aside)."""
        changed: list[str] = []
        same: list[str] = []
        for name in sorted(set(self._where) & set(base._where)):
            equal = self.raw(name) == base.raw(name) or (
                self._where[name][1] != base._where[name][1]
                and np.allclose(self.array(name), base.array(name), atol=1e-6)
            )
            (same if equal else changed).append(name)
        return changed, same
