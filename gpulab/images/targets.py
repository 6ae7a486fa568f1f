"""The engines that a verb speaks to, all at once: this machine's, or every host's of an inventory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import psutil

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.processes import stop
from gpulab.hosts.engines import engine_of
from gpulab.hosts.inventory import Host

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """An engine by the name that it is shown under; `host` where it is one of an inventory."""

    name: str
    docker: Docker
    host: Host | None = None


def here() -> Place:
    """This machine."""
    docker = Docker()
    return Place(docker.at, docker)


def place_of(host: Host) -> Place:
    """A host of an inventory."""
    return Place(host.name, engine_of(host), host)


def at_once(places: Sequence[Place], work: Callable[[Place], T], side_by_side: int = 32) -> dict[str, T | UsageError]:
    """`work` in every place; name -> what came of it, or why nothing did, in the order of `places`.

    Ctrl-C ends every command that is under way.
    """

    def attempt(place: Place) -> T | UsageError:
        try:
            return work(place)
        except UsageError as error:
            return error

    with ThreadPoolExecutor(max_workers=side_by_side) as pool:
        futures = {place.name: pool.submit(attempt, place) for place in places}
        try:
            return {name: future.result() for name, future in futures.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            while wait(futures.values(), timeout=0.1).not_done:
                stop(psutil.Process().children())
            raise
