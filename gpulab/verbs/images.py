"""The verbs that build images and bring them to hosts."""

from __future__ import annotations

from typing import Any

from gpulab.common.outcome import Outcome
from gpulab.verbs.options import HOSTS, LIMIT, REGISTRY, STACKS, Option, first, flag
from gpulab.verbs.verb import verb

FOR_HOSTS = HOSTS.called("for the hosts of this inventory")


@verb(
    first("stack", "one, or several with commas between them; parents are built first", to="names"),
    Option("base", "the image that it stands on, for closed networks; or GPULAB_BASE_IMAGE"),
    flag("dry", "print what buildx bake is told, and build nothing"),
)
def build(**options: Any) -> Outcome:
    """Build the stacks' Docker images from their locks.

    With a manifest and an SBOM of each.
    """
    from gpulab.images.build import build

    return build(**options)


@verb(
    HOSTS.called("every host of this inventory instead of this machine"),
    LIMIT,
    Option("need", "STACK[,STACK]: it is a failure where one is missing"),
    flag("env", "write compose/.env: the images' names for docker compose"),
)
def images(env: bool, **options: Any) -> Outcome:
    """Show which host has which image, and whether all are the same."""
    from gpulab.images.compose import write_env
    from gpulab.images.listing import list_images

    return write_env() if env else list_images(**options)


@verb(STACKS, REGISTRY, HOSTS.called("to this inventory's registry, else to its hosts"), LIMIT)
def push(**options: Any) -> Outcome:
    """Push images to a registry, or straight to hosts.

    To an inventory's registry through ssh; to its hosts where it has none.
    """
    from gpulab.images.push import push

    return push(**options)


@verb(STACKS, REGISTRY, FOR_HOSTS, LIMIT)
def pull(**options: Any) -> Outcome:
    """Pull images from a registry, here or on every host.

    All hosts side by side; checks that all got the same.
    """
    from gpulab.images.pull import pull

    return pull(**options)


@verb(STACKS, Option("file", "NAME.tar, or NAME.tar.gz: smaller, and slower to make"))
def save(**options: Any) -> Outcome:
    """Write images into a file, for networks without a registry.

    A tarball with its checksum beside it.
    """
    from gpulab.images.save import save

    return save(**options)


@verb(first("file", "what `inv save` wrote"), FOR_HOSTS, LIMIT)
def load(**options: Any) -> Outcome:
    """Load what `inv save` wrote, here or on every host.

    Where the site has a registry, it is uploaded once.
    """
    from gpulab.images.load import load

    return load(**options)
