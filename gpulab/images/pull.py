"""`inv pull`: images from a registry into this machine's engine, or into every host's, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpulab.common.errors import UsageError
from gpulab.common.listing import listing
from gpulab.common.outcome import Outcome
from gpulab.hosts.inventory import Host, load_hosts, only
from gpulab.images.image import Image
from gpulab.images.inspect import Found, look
from gpulab.images.listing import different
from gpulab.images.named import images_of
from gpulab.images.progress import Transfers
from gpulab.images.registry import Registry, named, of_inventory
from gpulab.images.targets import Place, at_once, here, place_of


def pull(stacks: str, *, registry: str, hosts: str, limit: str) -> Outcome:
    """Pull the stacks' images; exit 1 where a host did not get one, or not the same one as the others.

    Raises UsageError for mistakes, and, on this machine, for whatever goes wrong.
    """
    images = images_of(stacks)
    every = load_hosts(hosts) if hosts else []
    source = source_of(registry, every, hosts)
    places = [place_of(host) for host in only(every, limit)] if hosts else [here()]
    with Transfers() as transfers:
        results = at_once(places, lambda place: fetch(place, source, images, transfers))
    got = {name: found for name, found in results.items() if isinstance(found, dict)}
    errors = [error for error in results.values() if isinstance(error, UsageError)]
    if errors and not hosts:
        raise errors[0]
    table = listing("host", *(image.tag for image in images), wraps="host")
    for name, found in results.items():
        ids = [found[image.tag].id for image in images] if isinstance(found, dict) else ["[red]failed[/]"]
        table.add_row(name, *ids)
    rows: list[dict[str, Any]] = [
        {"host": name, "tag": image.tag, "id": found[image.tag].id, "digests": found[image.tag].digests}
        for name, found in got.items() for image in images
    ]  # fmt: skip
    failures = [error.failure for error in errors] + different(images, got, hosts)
    return Outcome({"registry": source.address, "images": rows}, failures=failures, text=table)


def source_of(registry: str, hosts: Sequence[Host], inventory: str) -> Registry:
    """The registry to pull from. Raises UsageError where none is named."""
    if registry:
        return named(registry)
    if not hosts:
        raise UsageError("pull from where?", "--registry HOST:PORT, or --hosts gpus.ini: from its registry to all")
    site = of_inventory(hosts)
    if site is None:
        raise UsageError(
            f"{inventory} names no registry (registry_host)",
            f"./inv push STACK --hosts {inventory} goes straight to its hosts; or --registry HOST:PORT",
        )
    return site


def fetch(place: Place, registry: Registry, images: Sequence[Image], transfers: Transfers) -> dict[str, Found]:
    """Pull into one engine; what it has then. Raises UsageError."""
    for image in images:
        with transfers.one(f"{place.name} pulls {image.tag}") as transfer:
            registry.pull(place.docker, image.tag, transfer.detail)
    return look(place.docker, [image.tag for image in images])
