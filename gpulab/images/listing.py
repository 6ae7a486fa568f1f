"""`inv images`: which engine has which stack's image, and whether it is the same one everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure
from gpulab.common.listing import listing
from gpulab.common.outcome import Outcome
from gpulab.hosts.inventory import load_hosts
from gpulab.images.image import Image
from gpulab.images.inspect import Found, look, present
from gpulab.images.named import images_of
from gpulab.images.targets import Place, at_once, here, place_of
from gpulab.stacks.stack import load_stacks


@dataclass(frozen=True)
class EngineImages:
    """What one engine has: the images that this checkout's stacks stand for, and those of other states of docker/."""

    found: Mapping[str, Found]
    others: tuple[str, ...]

    def of_another_state(self, image: Image) -> list[str]:
        """The keys under which the engine has this stack's image, none of them the one wanted."""
        stack = image.tag.partition(":")[0]
        return [tag.partition(":")[2] for tag in self.others if tag.startswith(f"{stack}:")]

    def cell(self, image: Image) -> Text:
        """For a table."""
        if image.tag in self.found:
            return Text(self.found[image.tag].id, style="green")
        other = self.of_another_state(image)
        return Text(f"(has {', '.join(other)})", style="yellow") if other else Text("-", style="dim")

    def row(self, image: Image) -> dict[str, Any]:
        """For --json: the state is `there`, `other` (of another state of docker/) or `absent`."""
        about = {"stack": image.stack.name, "tag": image.tag}
        if found := self.found.get(image.tag):
            return {**about, "state": "there", "id": found.id, "size": found.size, "created": found.created,
                    "digests": found.digests}  # fmt: skip
        other = self.of_another_state(image)
        return {**about, "state": "other", "has": other} if other else {**about, "state": "absent"}


def list_images(*, hosts: str, limit: str, need: str) -> Outcome:
    """The images of this machine, or of every host; exit 1 where one tag means different images, `need` is lacking, or
    a host does not answer. Raises UsageError for mistakes, and where this machine's engine does not answer.
    """
    images = [Image(stack) for stack in load_stacks().values() if stack.lock.is_file()]
    needed = [image.stack.name for image in images_of(need)] if need else []
    places = [place_of(host) for host in load_hosts(hosts, limit)] if hosts else [here()]
    listings = at_once(places, lambda place: engine_images(place, images))
    silent = {name: error for name, error in listings.items() if isinstance(error, UsageError)}
    if not hosts:
        for error in silent.values():
            raise error
    answered = {name: each for name, each in listings.items() if isinstance(each, EngineImages)}
    failures = [error.failure for error in silent.values()]
    failures += different(images, {name: each.found for name, each in answered.items()}, hosts)
    failures += [
        Failure(f"{name} has no {image.tag}", get(image, hosts))
        for image in images if image.stack.name in needed
        for name, each in answered.items() if image.tag not in each.found
    ]  # fmt: skip
    rows = [{"host": name, **each.row(image)} for name, each in answered.items() for image in images]
    data: dict[str, Any] = {"images": rows, "silent": sorted(silent)}
    table = across(images, needed, listings) if hosts else down(images, answered[places[0].name])
    return Outcome(data, failures=failures, text=table)


def engine_images(place: Place, images: Sequence[Image]) -> EngineImages:
    """What the engine has. Raises UsageError where it does not answer."""
    tags = [image.tag for image in images]
    return EngineImages(look(place.docker, tags), tuple(tag for tag in present(place.docker) if tag not in tags))


def different(images: Sequence[Image], found: Mapping[str, Mapping[str, Found]], hosts: str) -> list[Failure]:
    """A failure for every tag under which not all places have the same image."""
    failures: list[Failure] = []
    for image in images:
        who: dict[str, list[str]] = {}
        for name, there in found.items():
            if image.tag in there:
                who.setdefault(there[image.tag].id, []).append(name)
        if len(who) > 1:
            sides = "; ".join(f"{', '.join(names)}: {identity}" for identity, names in who.items())
            failures.append(Failure(f"{image.tag} is not the same image everywhere: {sides}", get(image, hosts)))
    return failures


def get(image: Image, hosts: str) -> str:
    """The command that brings an image."""
    stack = image.stack.name
    return (
        f"./inv pull {stack} --hosts {hosts}, or ./inv load FILE --hosts {hosts}" if hosts else f"./inv build {stack}"
    )


def down(images: Sequence[Image], each: EngineImages) -> Table:
    """One engine: a line for each stack."""
    table = listing("stack", "tag", "id", "size", "made", wraps="stack")
    for image in images:
        found = each.found.get(image.tag)
        more = (decimal(found.size), found.created[:16]) if found else ()
        table.add_row(image.stack.name, image.key, each.cell(image), *more)
    return table


def across(images: Sequence[Image], needed: Sequence[str], listings: Mapping[str, EngineImages | UsageError]) -> Group:
    """Many engines: a line for each, a column for every stack that is somewhere."""
    answered = [each for each in listings.values() if isinstance(each, EngineImages)]
    shown = [
        image for image in images
        if image.stack.name in needed or any(each.row(image)["state"] != "absent" for each in answered)
    ]  # fmt: skip
    table = listing("host", *(image.tag.removeprefix("gpulab/").replace(":", "\n") for image in shown), wraps="host")
    for name, each in listings.items():
        if isinstance(each, UsageError):
            table.add_row(name, *(Text("?", style="red") for _ in shown))
            continue
        table.add_row(name, *(each.cell(image) for image in shown))
    nowhere = [image.stack.name for image in images if image not in shown]
    return Group(table, Text(f"nowhere: {', '.join(nowhere)}" if nowhere and answered else "", style="dim"))
