"""What is asked for with `inv serve`, before anything is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpulab.common.errors import UsageError, nearest
from gpulab.common.numbers import positive
from gpulab.engines.docker import DockerBackend
from gpulab.engines.local import LocalBackend
from gpulab.runs import shell

MOST = 64  # servers behind one nginx


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """A model and the options of `inv serve`: `gpus` of each host, `replicas` of the server, or one over so many
    `nodes`. They are checked as far as they can be alone."""

    model: str
    backend: str = "transformers"
    adapter: Sequence[str] = ()
    port: int = 0
    name: str = ""
    public: bool = False
    engine: str = ""
    hosts: str = ""
    limit: str = ""
    gpus: int = 0
    replicas: int = 0
    nodes: int = 0
    settings: Sequence[str] = ()
    within: int = 600

    @property
    def contained(self) -> bool:
        """Whether in containers."""
        return bool(self.hosts) or self.replicas > 1 or self.engine == DockerBackend.name

    @property
    def spread(self) -> bool:
        """Whether one model is divided over hosts."""
        return self.nodes > 1

    def __post_init__(self) -> None:
        """Raises UsageError for what does not go together."""
        positive("--replicas", self.replicas, MOST)
        positive("--nodes", self.nodes, MOST)
        positive("--gpus", self.gpus, shell.MOST_GPUS)
        if self.engine and self.engine not in shell.ENGINES:
            raise UsageError(f"no engine {self.engine!r} for a service", nearest(self.engine, list(shell.ENGINES)))
        if self.contained and self.engine == LocalBackend.name:
            raise UsageError("--engine local is one server on this machine", "leave --engine out")
        if self.gpus and not self.contained:
            raise UsageError("--gpus is for containers", "CUDA_VISIBLE_DEVICES=0,1, or --engine docker")
        if self.spread and (not self.hosts or self.replicas > 1):
            raise UsageError("--nodes divides one model over hosts", "--hosts gpus.ini, without --replicas")
        if self.limit and not self.hosts:
            raise UsageError("--limit is of an inventory", "--hosts gpus.ini")
