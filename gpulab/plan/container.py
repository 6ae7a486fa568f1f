"""From a Command to `docker run`: the words that carry it out, and that plan.sh shows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpulab.common.docker import RUN
from gpulab.common.paths import ROOT
from gpulab.plan.lab_twins import TWINS
from gpulab.plan.plan import SHIPPED, Command, Plan

# Handed on by name where they are set: the docker command reads the values, so they are in no argument list.
HANDED_ON = (
    "HF_TOKEN", "HF_ENDPOINT", "MODELSCOPE_API_TOKEN", "MODELSCOPE_DOMAIN", "SWANLAB_API_KEY", "WANDB_API_KEY",
    "JUPYTER_TOKEN",
    "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY",
)  # fmt: skip
CACHES = {"MODELSCOPE_CACHE": "~/.cache/modelscope", "HF_HOME": "~/.cache/huggingface"}


@dataclass(frozen=True)
class Place:
    """Where a run's containers run: as which `uid:gid`, in what image, with which folders (as a container sees it ->
    on the engine's machine) and environment, on which hardware.

    A container sees every path as the plan writes it, wherever the engine is.
    """

    image: str
    user: str
    read: Mapping[Path, Path]
    write: Mapping[Path, Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    gpus: Sequence[str] = ()
    """The docker command's own words for GPUs; none where the profile needs none."""
    shm: str = ""
    fabric: Sequence[str] | None = None
    """The host's network, for nodes that must meet: docker's words for RDMA devices. None: the run's own network."""


def here(plan: Plan, image: str, gpus: Sequence[str]) -> Place:
    """The place of a plan on this machine: the lab's folders and tools to read, the run, twins and caches to write."""
    caches: dict[str, Path] = {}
    if plan.profile == "gpu":
        for name, usual in CACHES.items():
            caches[name] = Path(os.environ.get(name) or usual).expanduser()
            caches[name].mkdir(parents=True, exist_ok=True)  # docker would make it root's
    TWINS.mkdir(parents=True, exist_ok=True)
    return Place(
        image=image,
        user=f"{os.getuid()}:{os.getgid()}",
        read={path: path for path in (*plan.lab.reads.values(), *SHIPPED)},
        write={path: path for path in (plan.run, TWINS, *caches.values())},
        environment={name: str(path) for name, path in caches.items()},
        gpus=gpus,
        shm=half_of_memory(),
    )


def half_of_memory() -> str:
    """The size of /dev/shm that Linux gives a machine: data loaders and NCCL die with docker's 64 MiB."""
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2**21}m"


def network_name(plan: Plan) -> str:
    """The network of a run's containers: its servers are known there by their steps' names, and nowhere else."""
    return f"gpulab-{plan.run.parent.name}-{plan.run.name}"


def container_name(plan: Plan, command: Command) -> str:
    """The container of a command."""
    return f"{network_name(plan)}-{command.name}"


def node_alias(rank: int) -> str:
    """The name of a node of a spread step in the run's network."""
    return f"node{rank}"


def volumes(place: Place) -> list[str]:
    """docker's words for a place's folders."""
    given = [f"{at}:{to}:ro" for to, at in place.read.items()] + [f"{at}:{to}" for to, at in place.write.items()]
    return [word for volume in given for word in ("--volume", volume)]


def helper_words(image: str, user: str, program: str, more: Sequence[str]) -> list[str]:
    """What follows `docker run` for a program of the lab's own beside a run's containers: no network, no rights."""
    words = ["--rm", "--network", "none", "--user", user, "--cap-drop", "ALL", *more]
    return [*words, "--entrypoint", program, image]


def module_words(place: Place) -> list[str]:
    """The same for a Python program that finds the lab's own modules; what a container of that place sees, it sees."""
    return helper_words(place.image, place.user, "python", [*volumes(place), "--env", f"PYTHONPATH={ROOT}"])


def network_words(command: Command, plan: Plan, place: Place) -> list[str]:
    """docker's words for a command's network."""
    if place.fabric is not None:
        return ["--network", "host", *place.fabric]
    alias = command.step if command.rank is None else node_alias(command.rank)
    words = ["--network", network_name(plan), "--network-alias", alias]
    return words + (["--publish", f"127.0.0.1:{command.port}:{command.port}"] if command.port else [])


def run_words(command: Command, plan: Plan, place: Place) -> list[str]:
    """What follows `docker run`, without how it is attached: name, rights, folders, environment, image, command."""
    words = ["--name", container_name(plan, command), "--label", f"{RUN}={plan.run}", "--init"]
    words += ["--user", place.user, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    words += network_words(command, plan, place)
    words += ["--shm-size", place.shm] if place.shm else []
    words += [*place.gpus, "--ulimit", "memlock=-1", "--ulimit", "stack=67108864"] if place.gpus else []
    words += volumes(place)
    environment = {**place.environment, **command.env}
    names = handed_on(environment)
    if any(name.lower().endswith("_proxy") for name in names):
        servers = [c.step for c in plan.commands if c.ready]
        environment |= {name: ",".join(["localhost", "127.0.0.1", *servers]) for name in ("no_proxy", "NO_PROXY")}
    words += [word for name in names for word in ("--env", name)]
    words += [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    return [*words, "--workdir", str(command.cwd), place.image, *command.argv]


def handed_on(environment: Mapping[str, str]) -> list[str]:
    """The variables that a command gets of this process's: those that are set, and that its own leaves open."""
    return [name for name in HANDED_ON if os.environ.get(name) and name not in environment]


def shipped(plan: Plan) -> list[tuple[Path, str]]:
    """What a run needs of this machine's files, and its name below the run's folder on the host."""
    files = [(f, at / f.relative_to(folder)) for folder, at in below(plan, Path()).items() for f in folder.rglob("*")]
    return [(f, str(at)) for f, at in sorted(files) if f.is_file() and "__pycache__" not in f.parts]


def earlier_runs(plan: Plan, at: Path) -> dict[Path, Path]:
    """Of a run that resumes another, the lab's runs to read: what was taken over may name paths in them."""
    return {plan.run.parent: at} if plan.resumes else {}


def below(plan: Plan, run: Path) -> dict[Path, Path]:
    """The folders of this machine that a run's containers read, and where they lie below the run's folder on a host."""
    reads = {folder: run / name for name, folder in plan.lab.reads.items()}
    return reads | {folder: run / ".gpulab" / folder.name for folder in SHIPPED}
