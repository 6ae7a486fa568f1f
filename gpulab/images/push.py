"""`inv push`: this machine's images into a registry, or, where a site has none, straight into its hosts' engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.hosts.inventory import Host, load_hosts, only
from gpulab.images.distribute import ImageSet, spread
from gpulab.images.inspect import Found
from gpulab.images.named import images_of, insist
from gpulab.images.progress import Transfers
from gpulab.images.registry import Registry, named, of_inventory, through_ssh
from gpulab.images.streams import pigz, saving
from gpulab.images.tarball import Held
from gpulab.images.targets import here, place_of


def push(stacks: str, *, registry: str, hosts: str, limit: str) -> Outcome:
    """Push the stacks' images. Raises UsageError for mistakes, a missing image and a registry out of reach."""
    if bool(registry) == bool(hosts):
        raise UsageError("push where?", "--registry HOST:PORT, or --hosts gpus.ini: its registry, else its hosts")
    images = images_of(stacks)
    target = named(registry) if registry else None
    every = load_hosts(hosts) if hosts else []
    docker = here().docker
    found = insist(docker, images)
    if target:
        return pushed(target.address, into(target, docker, found), f"./inv pull {stacks} --registry {target.address}")
    site = of_inventory(every)
    if site is None:
        return straight(docker, found, only(every, limit))
    if site.upstream:
        raise UsageError(
            f"the registry of {hosts} only passes on what {site.upstream} has (registry_upstream)",
            "push there with --registry, or load a tarball: inv save, inv load",
        )
    with through_ssh(site) as near:
        try:
            digests = into(near, docker, found)
        finally:  # the name holds only as long as the way through ssh
            docker.try_run("image", "rm", "--no-prune", *(f"{near.address}/{tag}" for tag in found))
    return pushed(site.address, digests, f"./inv pull {stacks} --hosts {hosts}")


def into(registry: Registry, docker: Docker, found: Mapping[str, Found]) -> dict[str, str]:
    """Push each; tag -> digest."""
    digests = {}
    with Transfers() as transfers:
        for tag in found:
            with transfers.one(f"push {tag}") as transfer:
                digests[tag] = registry.push(docker, tag, transfer.detail)
    return digests


def pushed(address: str, digests: Mapping[str, str], then: str) -> Outcome:
    """What is in the registry now, and how a host gets it."""
    lines = [f"{address}/{tag} {digest}" for tag, digest in digests.items()]
    return Outcome({"registry": address, "digests": dict(digests)}, text="\n".join([*lines, then]))


def straight(docker: Docker, found: Mapping[str, Found], hosts: Sequence[Host]) -> Outcome:
    """Through ssh into each host's engine. Gzipped where pigz makes that faster than the network."""
    image_set = ImageSet(
        [Held(image.tag, image.id, image.size) for image in found.values()],
        lambda: saving(docker, list(found), squeeze=pigz()),
    )
    report = spread(image_set, [place_of(host) for host in hosts], None)
    data: dict[str, Any] = {"registry": None, "hosts": report.states}
    return Outcome(data, failures=report.failures, text=report.table())
