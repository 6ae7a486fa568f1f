"""What is asked for with `inv lab`, before anything is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpulab.common.errors import UsageError
from gpulab.common.numbers import positive
from gpulab.engines.slurm import SlurmBackend
from gpulab.lab.lab import Lab, find_lab

HUBS = ("modelscope", "hf")
MOST_NODES = 100_000


@dataclass(frozen=True)
class LabRequest:
    """A lab and the options of `inv lab`, checked as far as they can be alone."""

    name: str
    rehearse: bool = False
    model: str = ""
    settings: Sequence[str] = ()
    keep_serving: bool = False
    hub: str = HUBS[0]
    engine: str = ""
    hosts: str = ""
    limit: str = ""
    nodes: int = 0
    requeue: bool = False
    only: str = ""
    traced: bool = False
    start: str = ""

    def __post_init__(self) -> None:
        """Raises UsageError for what can't be asked for."""
        if self.hub not in HUBS:
            raise UsageError(f"no hub {self.hub!r}", f"one of {', '.join(HUBS)}")
        if self.model and self.rehearse:
            raise UsageError("--model and --rehearse exclude each other", "a rehearsal takes a tiny twin of the model")
        if self.engine == SlurmBackend.name and self.keep_serving:
            raise UsageError("a job ends with its last step", "leave --keep-serving out, or take --engine docker")

    def lab(self) -> Lab:
        """The lab, with the model and the steps that are asked for. Raises UsageError where there is none."""
        lab = find_lab(self.name).only(self.only.split(",") if self.only else [])
        return lab.of_model(self.model) if self.model else lab


def node_count(lab: Lab, asked: int) -> int:
    """How many nodes: those asked for, else those that the lab needs. Raises UsageError where no step spreads."""
    positive("--nodes", asked, MOST_NODES)
    spreads = any(step.spread for step in lab.steps.values())
    count = asked or (lab.needs.nodes if spreads else 1)
    if count > 1 and not spreads:
        raise UsageError(f"no step of {lab.name} spreads over nodes", "leave --nodes out, or take a lab that does")
    return count
