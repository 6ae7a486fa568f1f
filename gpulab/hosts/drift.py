"""`inv drift`: what differs on the hosts from what the roles promise, without changing anything."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.hosts.inventory import load_hosts
from gpulab.hosts.play import Played, Wish, check_tags, play
from gpulab.hosts.progress import Progress


def drift(hosts: str, *, limit: str, tags: str) -> Outcome:
    """Check and diff of the whole site. Exit 1 where a host differs, can't be reached or can't be checked.

    Raises UsageError for mistakes in the inventory and an unknown --limit or --tags.
    """
    check_tags(tags)
    chosen = load_hosts(hosts, limit)
    with Progress() as progress:
        played = play(Wish(hosts, check=True, limit=limit, tags=tags), chosen, "drift", progress.watch)
    changes = played.recap.changes
    found = [f"{c.host}: {c.role}: {c.task}" for c in changes]
    data = {
        "hosts": {name: host.data() for name, host in played.recap.hosts.items()},
        "drift": [vars(c) for c in changes],
        "seconds": played.seconds,
        "log": str(played.log),
    }
    differing = sorted({c.host for c in changes})
    summary = (
        [
            f"{', '.join(differing)} differ{'s' if len(differing) == 1 else ''} "
            f"in {len(found)} place{'s' if len(found) > 1 else ''}"
        ]
        if found
        else []
    )
    code = 130 if played.interrupted else None
    return Outcome(data, failures=played.trouble() + summary, text=text(played), code=code)


def text(played: Played) -> RenderableType:
    """For people: host, role, task, and the lines that differ."""
    changes = played.recap.changes
    if not changes and played.status == 0:
        return Text(f"no drift on {', '.join(played.recap.hosts)} ({played.seconds:.0f} s)")
    end = Text(f"\n{played.seconds:.0f} s, all of it in {shown(played.log)}")
    if not changes:
        return end
    grid = Table(box=None, pad_edge=False)
    for title in ("host", "role", "what", "differs"):
        grid.add_column(title, overflow="fold")
    for change in changes:
        grid.add_row(change.host, change.role, Text(change.task), Text("\n".join(change.differs)))
    return Group(grid, end)
