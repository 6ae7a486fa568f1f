"""`inv trust`: see the hosts' keys, accept them once. A key that changed is an error, never accepted in passing."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.prompt import Confirm
from rich.table import Table

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import ROOT, shown
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.ssh import SIDE_BY_SIDE, known_hosts

SCAN_SECONDS = 8
KINDS = "ed25519,ecdsa,rsa"


@dataclass(frozen=True)
class Offer:
    """The keys one host shows and those accepted before, each `kind key`."""

    host: Host
    shown: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """How ssh writes the host in its file."""
        return self.host.address if self.host.port == 22 else f"[{self.host.address}]:{self.host.port}"

    @property
    def state(self) -> str:
        """silent, new, known or changed."""
        if not self.shown:
            return "silent"
        if not self.known:
            return "new"
        # A kind of key that was not there before is no change; another key of a known kind is.
        kinds = {key.split()[0]: key for key in self.known}
        return "changed" if any(kinds.get(k.split()[0], k) != k for k in self.shown) else "known"


def trust(hosts: str, *, limit: str, yes: bool, forget: Sequence[str]) -> Outcome:
    """Show the keys of all hosts, accept the new ones after a yes. `forget` drops what was accepted of these hosts.

    Raises UsageError for mistakes in the inventory and where nobody is there to say yes.
    """
    chosen = [host for host in load_hosts(hosts, limit) if not host.local]
    path = ROOT / known_hosts(chosen)
    if forget:
        return forgotten(chosen, forget, path)
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        offers = list(pool.map(lambda host: scan(host, path), chosen))
    grid = Table(box=None, pad_edge=False)
    for title in ("host", "address", "state", "fingerprint"):
        grid.add_column(title, no_wrap=title != "fingerprint")
    for offer in offers:
        for key in offer.shown or [""]:
            grid.add_row(offer.host.name, offer.name, offer.state, fingerprint(key) if key else "no answer")
    console.print(grid)
    new = [offer for offer in offers if offer.state == "new"]
    accepted = bool(new) and (yes or confirmed(new, hosts))
    if accepted:
        add(path, new)
    failures = [
        f"{o.host.name}: its key has changed: reinstalled? then: inv trust --forget {o.host.name} --hosts {hosts}. "
        "Otherwise somebody stands between: do not go on"
        for o in offers if o.state == "changed"
    ]  # fmt: skip
    failures += [
        f"{o.host.name}: no answer from {o.name}: is it on, is sshd running?" for o in offers if o.state == "silent"
    ]
    failures += [f"{o.host.name}: not accepted" for o in new if not accepted]
    return Outcome({"known_hosts": str(path), "hosts": [data(o, accepted) for o in offers]}, failures=failures,
                   text=f"{len(new)} accepted, in {shown(path)}" if accepted else None)  # fmt: skip


def data(offer: Offer, accepted: bool) -> dict[str, Any]:
    """For --json."""
    state = "accepted" if accepted and offer.state == "new" else offer.state
    fingerprints = [fingerprint(key) for key in offer.shown]
    return {"host": offer.host.name, "address": offer.name, "state": state, "fingerprints": fingerprints}


def confirmed(new: Sequence[Offer], hosts: str) -> bool:
    """Ask once for all. Raises UsageError where there is no terminal to answer on."""
    if not console.is_terminal:
        raise UsageError(
            "the hosts' keys are not accepted: this is no terminal to ask on",
            f"compare the fingerprints, then: inv trust --yes --hosts {hosts}",
        )
    return Confirm.ask(f"accept the keys of {', '.join(o.host.name for o in new)}?", default=False)


def scan(host: Host, path: Path) -> Offer:
    """What a host shows, and what is known of it."""
    offer = Offer(host)
    told = _run(["ssh-keyscan", "-T", str(SCAN_SECONDS), "-t", KINDS, "-p", str(host.port), host.address])
    known = _run(["ssh-keygen", "-F", offer.name, "-f", str(path)]) if path.is_file() else ""
    return Offer(host, *(sorted(_keys(text)) for text in (told, known)))


def _keys(text: str) -> list[str]:
    return [" ".join(line.split()[1:3]) for line in text.splitlines() if line and not line.startswith("#")]


def _run(argv: list[str], stdin: str = "") -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=3 * SCAN_SECONDS, check=False)
    return done.stdout


def fingerprint(key: str) -> str:
    """A key's fingerprint as ssh itself shows it: `SHA256:... (ED25519)`."""
    words = _run(["ssh-keygen", "-l", "-f", "-"], key).split()
    return f"{words[1]} {words[-1]}"


def add(path: Path, offers: Sequence[Offer]) -> None:
    """Write down the keys, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = "".join(f"{offer.name} {key}\n" for offer in offers for key in offer.shown)
    draft = path.with_suffix(".draft")
    draft.write_text(before + lines, encoding="utf-8")
    draft.replace(path)


def forgotten(hosts: Sequence[Host], names: Sequence[str], path: Path) -> Outcome:
    """Drop what is known of some hosts. Raises UsageError for a name the inventory does not have."""
    by_name = {host.name: host for host in hosts}
    for name in names:
        if name not in by_name:
            raise UsageError(f"--forget {name}: no such host in the inventory", f"known: {', '.join(by_name)}")
        if path.is_file():
            _run(["ssh-keygen", "-R", Offer(by_name[name]).name, "-f", str(path)])
    return Outcome(
        {"forgotten": list(names)}, text=f"forgotten: {', '.join(names)}; now inv trust shows their keys anew"
    )
