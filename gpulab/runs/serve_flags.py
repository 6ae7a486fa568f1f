"""The command of a service: `swift deploy`, which inside/deploy.py carries out, with whose flags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpulab.common import redact
from gpulab.common.errors import UsageError
from gpulab.common.paths import shown
from gpulab.lab import flags
from gpulab.lab.settings import check_setting
from gpulab.plan import vllm_adapters, vllm_nodes
from gpulab.plan.layers import additions
from gpulab.plan.plan import TOOLS
from gpulab.records.service import ServiceRecord
from gpulab.runs.serve_target import Target

COMMAND = ["swift", "deploy"]
PLUGINS = [str(TOOLS / "whole_streams.py")]
OURS = ("model", "adapters", "host", "port", "served_model_name", "infer_backend", "api_key")

Flags = dict[str, str | list[str]]


def settings(given: Sequence[str]) -> Flags:
    """`key=value` words as flags of `swift deploy`. Raises UsageError for an unknown one, or one that is inv's own."""
    found: Flags = {}
    for key, value in _pairs(given, "max_new_tokens=64"):
        if key in OURS:
            raise UsageError(f"--set {key} is inv's own to say", "see ./inv --help serve")
        check_setting(f"--set {redact.text(key)}", COMMAND, key, value)
        found[key] = value
    return found


def argv(service: ServiceRecord, asked: Target, given: Flags, python: str, address: str, *, cpu: bool) -> list[str]:
    """The command, for a server that listens on that address. Raises UsageError for an adapter that its backend would
    not take."""
    words = [*COMMAND, *asked.words]
    if service.adapters:
        words += [] if asked.adapter else ["--adapters"]
        words += [f"{name}={folder}" for name, folder in service.adapters.items()]
    own: dict[str, Any] = {"external_plugins": PLUGINS, "served_model_name": service.name}
    own |= {"infer_backend": service.backend, "port": service.port, "host": address}
    own |= additions()["cpu"]["swift deploy"] if cpu else {}
    told = _for_vllm(service, asked, given, cpu=cpu) if service.backend == "vllm" else given
    made = flags.with_flags(words, {**own, **told})
    return [python, str(TOOLS / "deploy.py"), *made[len(COMMAND) :]]


def divided(service: ServiceRecord, asked: Target, given: Sequence[str]) -> vllm_nodes.Model:
    """What vLLM's own server is told, which runs where a model is divided over hosts: `key=value` words are its flags.
    Raises UsageError for a secret among them, and for an adapter that it does not take."""
    told: dict[str, str] = {}
    for key, value in _pairs(given, "max_model_len=8192"):
        if redact.is_secret(key) or redact.text(value) != value:
            raise UsageError(f"--set {redact.text(key)}: a secret", "put it into the environment, not into ps")
        told[key.replace("_", "-")] = value
    loaded = [*map(Path, service.adapters.values()), *asked.adapters]
    _refuse(loaded, vllm_adapters.rank_for(loaded))
    own = {service.name: str(asked.adapter)} if asked.adapter else {}
    name = f"{service.name}-base" if own else service.name
    return vllm_nodes.Model(model=asked.model, name=name, adapters={**own, **service.adapters}, flags=told)


def _pairs(given: Sequence[str], example: str) -> Iterator[tuple[str, str]]:
    for word in given:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--set {redact.text(key)}: not key=value", f"--set {example}")
        yield key, value


def _refuse(adapters: Sequence[Path], most: int) -> None:
    for adapter in adapters:
        if why := vllm_adapters.refused(adapter, most):
            raise UsageError(
                f"vLLM does not take {shown(adapter)}: {why}",
                "merge it (labs/export/merge-lora), or --backend transformers",
            )


def _for_vllm(service: ServiceRecord, asked: Target, given: Flags, *, cpu: bool) -> Flags:
    """The flags that vLLM is started with. Raises UsageError for an adapter that it would not take."""
    loaded = [*map(Path, service.adapters.values()), *asked.adapters]
    own: Flags = {"external_plugins": [*PLUGINS, str(TOOLS / "vllm_metrics.py")]}  # its statistics, and /metrics
    own |= {"vllm_enforce_eager": "true"} if cpu else {}  # what is compiled for a CPU takes minutes
    if loaded:
        own["vllm_max_lora_rank"] = str(vllm_adapters.rank_for(loaded))
    told = {**own, **given}
    _refuse(loaded, int(str(told.get("vllm_max_lora_rank", 0))))
    return told
