"""`inv provision`: the whole site on the inventory's hosts, or what --limit and --tags choose of it."""

from __future__ import annotations

import getpass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gpulab.common.console import console
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.hosts.inventory import inventory_path, load_hosts
from gpulab.hosts.lock import holding
from gpulab.hosts.play import Played, Wish, check_tags, play
from gpulab.hosts.progress import Progress, table


def provision(
    hosts: str, *, check: bool, limit: str, tags: str, reboot: bool, wait: bool, ask_become_pass: bool
) -> Outcome:
    """Bring the hosts to what the roles promise. One host's failure does not stop the others; it makes the exit 1.

    Raises UsageError for mistakes in the inventory, an unknown --limit or --tags, and while another one holds the lock.
    """
    check_tags(tags)
    chosen = load_hosts(hosts, limit)
    wish = Wish(
        hosts, check=check, limit=limit, tags=tags,
        variables=("nvidia_driver_reboot=true",) if reboot else (),
        become_password=getpass.getpass("sudo password: ") if ask_become_pass else None,
    )  # fmt: skip
    with holding(inventory_path(hosts), wait=wait, say=console.print), Progress() as progress:
        played = play(wish, chosen, "check" if check else "provision", progress.watch)
    data = {"check": check, "seconds": played.seconds, "log": str(played.log), **report(played)}
    code = 130 if played.interrupted else None
    return Outcome(data, failures=played.trouble(), text=text(played), code=code)


def report(played: Played) -> dict[str, Any]:
    """For --json: every host, and what took longest."""
    return {
        "hosts": {name: host.data() for name, host in played.recap.hosts.items()},
        "slowest": played.recap.slowest(),
    }


def text(played: Played) -> RenderableType:
    """For people: the hosts, the slowest tasks, the log."""
    slow = Table(box=None, pad_edge=False, title="slowest tasks", title_justify="left", show_header=False)
    for row in played.recap.slowest():
        slow.add_row(f"{row['seconds']:.1f} s", row["role"], Text(row["task"]))
    return Group(table(played.recap), Text(), slow, Text(f"\n{played.seconds:.0f} s, all of it in {shown(played.log)}"))
