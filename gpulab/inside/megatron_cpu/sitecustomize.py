"""Python runs this at its start where this folder is in PYTHONPATH, as it is in a rehearsal of Megatron on a CPU.

Nothing happens before Megatron is first imported; then, and before anything of it, CUDA becomes the CPU.
"""

from __future__ import annotations

import contextlib
import sys
import typing
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any


class BeforeMegatron(MetaPathFinder):
    """Hears that Megatron is wanted."""

    def __init__(self) -> None:
        self.began = False

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See MetaPathFinder; it finds next to nothing itself."""
        if fullname.split(".")[0] not in ("megatron", "mcore_bridge", "transformer_engine", "emerging_optimizers"):
            return None
        import cuda_is_cpu
        import no_triton

        if not self.began:
            self.began = True
            if not hasattr(typing, "override"):  # before Python 3.12
                from typing_extensions import override

                typing.override = override  # type: ignore[attr-defined]
            cuda_is_cpu.pretend()
        return no_triton.find(fullname, path)


sys.meta_path.insert(0, BeforeMegatron())
with contextlib.suppress(ModuleNotFoundError):  # in PYTHONPATH, too, where the stack has a torchvision of CUDA's
    import torchvision_operators  # noqa: F401
