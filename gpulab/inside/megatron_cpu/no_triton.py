"""Some modules decorate Triton's kernels as they are imported; on a CPU those are never called.

Triton is there for these imports alone: whoever else asks for it hears that there is none.
"""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

DECORATE = (
    "megatron.core.transformer.moe.paged_stash", "mcore_bridge.model.modules.kernels.qsa_block_sparse_attn",
    "emerging_optimizers.triton_kernels.syrk",
)  # fmt: skip


def find(fullname: str, path: Any) -> ModuleSpec | None:
    """Where such a module is, with a loader that lends it Triton; None for any other."""
    spec = PathFinder.find_spec(fullname, path) if fullname in DECORATE else None
    if spec is None or spec.loader is None or "triton" in sys.modules:
        return None
    execute = spec.loader.exec_module

    def lend(module: types.ModuleType) -> None:
        sys.modules.update(stand_ins())
        try:
            execute(module)
        finally:
            for name in stand_ins():
                del sys.modules[name]

    spec.loader.exec_module = lend  # type: ignore[method-assign]
    return spec


def stand_ins() -> dict[str, types.ModuleType]:
    """Triton's names as far as a kernel is decorated and annotated with them."""
    triton, language = types.ModuleType("triton"), types.ModuleType("triton.language")
    triton.jit = lambda function=None, **more: function or (lambda f: f)  # type: ignore[attr-defined]
    triton.autotune = triton.heuristics = lambda *args, **more: lambda f: f  # type: ignore[attr-defined]
    triton.Config = lambda *args, **more: None  # type: ignore[attr-defined]
    triton.language = language  # type: ignore[attr-defined]
    language.constexpr = object  # type: ignore[attr-defined]
    return {"triton": triton, "triton.language": language}
