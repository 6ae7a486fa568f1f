"""What a run needs for itself on its hosts: GPUs that nobody uses, and the nodes' way to meet. Without a queue nobody
waits for them: who comes second is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpulab.docker import Docker
from gpulab.engines.container import RUN
from gpulab.errors import UsageError
from gpulab.hosts.seat import Seat
from gpulab.hosts.ssh import ask
from gpulab.plan import Plan

APPS = ("nvidia-smi", "--query-compute-apps=pid,process_name", "--format=csv,noheader")


def must_be_unused(dockers: Mapping[str, Docker], seats: Sequence[Seat], plan: Plan) -> None:
    """Raise UsageError where another run, or another program, has the GPUs; of nodes also the port where they meet.

    A rehearsal on one host takes nothing that another could miss.
    """
    gpus = plan.profile == "gpu" and plan.lab.needs.gpus > 0
    spreads = any(command.rank is not None for command in plan.commands)
    if not (gpus or spreads):
        return
    # Containers of nodes that meet are in the host's network.
    which = ["--filter", f"label={RUN}", *([] if gpus else ["--filter", "network=host"])]
    words = ["ps", *which, "--format", f'{{{{.Label "{RUN}"}}}}']
    with ThreadPoolExecutor(len(dockers)) as pool:
        runs = dict(zip(dockers, pool.map(lambda docker: docker.run(*words), dockers.values()), strict=True))
    for name, said in runs.items():
        if said:
            other = Path(said.splitlines()[0])
            raise UsageError(
                f"{name} is in use by the run {other.parent.name}/{other.name} ({other})",
                "wait for its end, take other hosts (--limit), or share them by a queue (docs/slurm.md)",
            )
    if gpus:
        for name, answer in ask([seat.host for seat in seats], lambda _: APPS).items():
            if answer.stdout.strip():
                raise UsageError(
                    f"the GPUs of {name} are in use: {'; '.join(answer.stdout.strip().splitlines())}",
                    "wait for its end, or take other hosts (--limit)",
                )
