"""`inv load`: a tarball into this machine's engine, or into every host's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict
from io import BufferedReader

from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.hosts.inventory import load_hosts, only
from gpulab.images.distribute import ImageSet, spread
from gpulab.images.progress import Transfers
from gpulab.images.registry import of_inventory
from gpulab.images.tarball import Tarball, open_tarball
from gpulab.images.targets import here, place_of


def load(file: str, *, hosts: str, limit: str) -> Outcome:
    """Load what `inv save` wrote. Raises UsageError for another file or a torn one; then nothing was loaded."""
    tarball = open_tarball(file)
    image_set = image_set_of(tarball)
    about = {"file": str(tarball.path), "images": [asdict(held) for held in tarball.images]}
    if not hosts:
        state = load_here(image_set)
        names = ", ".join(held.tag for held in tarball.images)
        return Outcome({**about, "state": state}, text=f"{names}: {state}")
    every = load_hosts(hosts)
    report = spread(image_set, [place_of(host) for host in only(every, limit)], of_inventory(every))
    return Outcome({**about, "hosts": report.states}, failures=report.failures, text=report.table())


def image_set_of(tarball: Tarball) -> ImageSet:
    """The tarball as something to send."""

    def stream() -> AbstractContextManager[BufferedReader]:
        return tarball.path.open("rb")

    def check() -> None:
        with Transfers() as transfers, transfers.one(f"check {shown(tarball.path)}", tarball.size) as transfer:
            tarball.verify(transfer.advance)

    return ImageSet(tarball.images, stream, tarball.size, check)


def load_here(image_set: ImageSet) -> str:
    """Into this machine's engine, unless it has it: `there` or `loaded`. Raises UsageError."""
    place = here()
    if not image_set.lacking(place):
        return "there"
    image_set.check()
    with Transfers() as transfers:
        image_set.send(place, transfers)
    if left := image_set.lacking(place):
        raise UsageError(f"{place.name} has another {left[0].tag} than the one in the file", "save it anew, load again")
    return "loaded"
