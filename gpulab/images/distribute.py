"""One image, many hosts: uploaded once per site where it has a registry, else to each host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import BufferedReader

from rich.table import Table

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure
from gpulab.common.listing import listing
from gpulab.images.disk import insist_on_engine
from gpulab.images.inspect import look
from gpulab.images.progress import Transfers
from gpulab.images.registry import SiteRegistry
from gpulab.images.streams import loading
from gpulab.images.tarball import Held
from gpulab.images.targets import Place, at_once, place_of

UNPACKING = 2  # an engine holds what comes in and what it has unpacked of it at the same time
UPLOADS = 4  # side by side: they share one line, but one host unpacks while another receives


@dataclass(frozen=True)
class ImageSet:
    """The images and the stream that holds them all; `size` of the stream where it is known."""

    images: Sequence[Held]
    stream: Callable[[], AbstractContextManager[BufferedReader]]
    size: int | None = None
    check: Callable[[], None] = field(default=lambda: None)
    """Called before anything is sent."""

    def lacking(self, place: Place) -> list[Held]:
        """Those that the engine has not, or has another of. Raises UsageError where it does not answer."""
        found = look(place.docker, [held.tag for held in self.images])
        return [held for held in self.images if held.tag not in found or found[held.tag].id != held.id]

    def room(self, place: Place) -> None:
        """Raise UsageError where the engine's disk has no room for them."""
        insist_on_engine(place, UNPACKING * sum(held.size for held in self.images))

    def send(self, place: Place, transfers: Transfers) -> None:
        """Load them there. Raises UsageError."""
        self.room(place)
        with transfers.one(f"load at {place.name}", total=self.size) as transfer, self.stream() as stream:
            loading(place.docker, stream, transfer.advance)


@dataclass
class Report:
    """Host by host: `there` already, `loaded`, `pulled` or `failed`; and a line for each failure."""

    states: dict[str, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def table(self) -> Table:
        """For people."""
        table = listing("host", "image", wraps="image")
        for name, state in self.states.items():
            table.add_row(name, "[red]failed[/]" if state == "failed" else state)
        return table

    def take(self, results: Mapping[str, object], state: str) -> None:
        """What came of a round: a UsageError is a failure, anything else `state`."""
        for name, result in results.items():
            self.states[name] = "failed" if isinstance(result, UsageError) else state
            if isinstance(result, UsageError):
                self.failures.append(result.failure)


def spread(image_set: ImageSet, places: Sequence[Place], registry: SiteRegistry | None) -> Report:
    """Bring the image_set to every place that lacks it, then look whether all have the same. Raises UsageError when the
    image_set's own check fails; what goes wrong at a host is in the report, and the others go on.
    """
    report = Report()
    before = at_once(places, image_set.lacking)
    report.take(before, "there")
    lacking = [place for place in places if not isinstance(before[place.name], UsageError) and before[place.name]]
    if not lacking:
        return report
    image_set.check()
    with Transfers() as transfers:
        if registry and not registry.upstream:
            _through(registry, image_set, lacking, report, transfers)
        else:
            console.print(f"the site has no registry to push to (registry_host): {len(lacking)} uploads from here")
            report.take(at_once(lacking, lambda place: image_set.send(place, transfers), UPLOADS), "loaded")
    done = [place for place in lacking if report.states[place.name] != "failed"]
    after = at_once(done, image_set.lacking)
    for name, left in after.items():
        if isinstance(left, UsageError):
            report.take({name: left}, "failed")
        elif left:
            report.states[name] = "failed"
            what = f"it has another {left[0].tag} than the one that was sent"
            report.failures.append(Failure(what, "send it again: something else gave it that tag meanwhile", name))
    return report


def _through(
    registry: SiteRegistry, image_set: ImageSet, lacking: Sequence[Place], report: Report, transfers: Transfers
) -> None:
    """One upload, to the registry's host; the others get it from there, side by side."""
    name = registry.host.name
    first = next((place for place in lacking if place.name == name), None) or place_of(registry.host)

    def bring(place: Place) -> None:
        if image_set.lacking(place):
            image_set.send(place, transfers)
        for held in image_set.images:
            with transfers.one(f"{place.name} into {registry.address}") as transfer:
                registry.push(place.docker, held.tag, transfer.detail)

    def fetch(place: Place) -> None:
        image_set.room(place)
        with transfers.one(f"{place.name} from {registry.address}") as transfer:
            for held in image_set.images:
                registry.pull(place.docker, held.tag, transfer.detail)

    brought = at_once([first], bring)
    if isinstance(error := brought[name], UsageError):
        report.failures.append(error.failure)
        report.states |= {place.name: "failed" for place in lacking}
        return
    if first in lacking:
        report.states[name] = "loaded"
    others = [place for place in lacking if place.name != name]
    report.take(at_once(others, fetch), "pulled")
