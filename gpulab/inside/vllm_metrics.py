"""What vLLM itself counted, the evidence that it answered: an `--external_plugins` of `swift infer` and `swift deploy`.

ms-swift starts vLLM without statistics and has no /metrics. With this plugin they are counted: each process leaves them
in <GPULAB_VLLM_METRICS>/<rank>.prom when it ends, and `swift deploy` serves them under /metrics, as `vllm serve` does.
"""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any

from swift.pipelines.infer import deploy
from swift.rlhf_trainers.args_mixin import VllmArguments

FOLDER = "GPULAB_VLLM_METRICS"
_engine_kwargs = VllmArguments.get_vllm_engine_kwargs


def with_statistics(self: Any) -> dict[str, Any]:
    """The engine's settings, its statistics on."""
    settings: dict[str, Any] = _engine_kwargs(self)
    settings["engine_kwargs"] = {**(settings["engine_kwargs"] or {}), "disable_log_stats": False}
    return settings


def metrics() -> bytes:
    """What is counted by now; nothing of vLLM where another engine answers."""
    from prometheus_client import generate_latest  # vLLM needs it, ms-swift does not

    return bytes(generate_latest())


def register(self: Any) -> None:
    """The server's paths, and /metrics."""
    from fastapi import Response

    _register(self)
    self.app.get("/metrics")(lambda: Response(metrics(), media_type="text/plain; version=0.0.4"))


def leave(folder: Path) -> None:
    """Write down what this process counted."""
    folder.mkdir(exist_ok=True)
    (folder / f"{os.environ.get('RANK', '0')}.prom").write_bytes(metrics())


VllmArguments.get_vllm_engine_kwargs = with_statistics
_register = deploy.SwiftDeploy._register_app
deploy.SwiftDeploy._register_app = register
if FOLDER in os.environ:
    atexit.register(leave, Path(os.environ[FOLDER]))
