"""A run's claim on its hosts: their GPUs, and of nodes the way to meet. Without a queue nobody waits for them: who
comes second is refused.

The claim is a container that never starts, under one name: an engine gives a name only once, so of two runs that start
in the same second one is told of the other. It lasts as long as the run, also between two steps and without its inv.
"""

from __future__ import annotations

import getpass
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from gpulab.common.docker import RUN, Docker, remove_run
from gpulab.common.errors import UsageError
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.ssh import ask
from gpulab.plan.plan import Plan
from gpulab.records.read import read
from gpulab.records.record import GOING
from gpulab.records.service import holder

NAME = "gpulab-claim"
BY = "gpulab.by"  # the label that says who claims
APPS = ("nvidia-smi", "--query-compute-apps=pid,process_name", "--format=csv,noheader")


def claim(
    dockers: Mapping[str, Docker], compute_nodes: Sequence[ComputeNode], plan: Plan, image: str,
    then: Callable[[], object],
) -> None:  # fmt: skip
    """Take the hosts for a run. Raises UsageError where another run, or another program, has them. `then`: what is done
    as soon as the first is taken, beside the others.

    A rehearsal on one host takes nothing that another could miss.
    """
    gpus = plan.profile == "gpu" and plan.lab.needs.gpus > 0
    if not (gpus or any(command.rank is not None for command in plan.commands)):
        then()
        return
    first, *others = sorted(dockers)  # the first alone: it decides between two runs, or each might have one host
    _take(first, dockers[first], plan.run, image)
    with ThreadPoolExecutor(len(dockers)) as pool:
        beside = pool.submit(then)
        list(pool.map(lambda name: _take(name, dockers[name], plan.run, image), others))
        beside.result()
    if gpus:
        hosts = [compute_node.host for compute_node in compute_nodes]
        for name, answer in ask(hosts, lambda _: APPS, login="kept").items():
            if answer.stdout.strip():
                raise UsageError(
                    f"the GPUs of {name} are in use: {'; '.join(answer.stdout.strip().splitlines())}",
                    "wait for its end, or take other hosts (--limit)",
                )


def _take(name: str, docker: Docker, run: Path, image: str) -> None:
    by = f"{getpass.getuser()}@{platform.node()}"
    words = ("create", "--name", NAME, "--label", f"{RUN}={run}", "--label", f"{BY}={by}", image, "true")
    while (said := docker.try_run(*words)).returncode:
        if "is already in use" not in said.stderr:
            raise docker.complaint(said.stderr)
        held = docker.try_run("inspect", "--format", "{{json .Config.Labels}}", NAME)
        if held.returncode:
            continue  # it was given up just now
        labels = json.loads(held.stdout)
        other, who = Path(labels[RUN]), f" of {labels[BY]}" if BY in labels else ""
        if not _is_over(other):
            ends = (
                f"`./inv stop {other.name}` by its owner" if holder(other).startswith("service") else "wait for its end"
            )
            raise UsageError(
                f"{name} is in use by the {holder(other)}{who} ({other})",
                f"{ends}, take other hosts (--limit), or share them by a queue (docs/slurm.md); of a run "
                f"whose record is lost: `docker rm {NAME}` there",
            )
        remove_run(docker, other)  # its host could not be asked when it ended


def _is_over(run: Path) -> bool:
    """Whether a run's record is here and says so."""
    with suppress(UsageError):
        return read(run).state not in GOING
    return False
