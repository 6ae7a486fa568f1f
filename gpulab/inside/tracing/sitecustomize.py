"""Python imports this at its start when PYTHONPATH has this folder: where GPULAB_TRACE names a folder, the process
leaves a trace of ms-swift and its neighbours there (tracer.py)."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

HERE = str(Path(__file__).parent)


def pass_on() -> None:
    """Carry out the sitecustomize that Python would have found without this one: a stack may have its own."""
    spec = PathFinder.find_spec("sitecustomize", [folder for folder in sys.path if folder != HERE])
    if spec and spec.loader:
        spec.loader.exec_module(module_from_spec(spec))


pass_on()
if os.environ.get("GPULAB_TRACE"):
    sys.path.insert(0, HERE)
    from tracer import trace_into

    sys.path.remove(HERE)
    trace_into(Path(os.environ["GPULAB_TRACE"]))
