"""`inv trust`: see the hosts' keys, accept them once. A key that changed is an error, never accepted in passing."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.prompt import Confirm
from rich.table import Table

from gpulab.common.console import console
from gpulab.common.diagnosis import last_line
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import ROOT, shown
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.ssh import SIDE_BY_SIDE
from gpulab.hosts.ssh_route import Route, jump_variables, options, route

SCAN_SECONDS = 8
KINDS = "ed25519,ecdsa,rsa"


# One kind, always the same: through a jump host there is one login for one key.
PREFERRED = "ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256"


@dataclass(frozen=True)
class Offer:
    """The keys one host shows and those accepted before, each `kind key`; why it shows none, where ssh said so."""

    host: Host
    way: Route
    shown: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    trouble: str = ""

    @property
    def name(self) -> str:
        """How ssh writes the host in its file."""
        return self.way.key_name

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
    """Show the keys of all hosts and of the jump hosts before them, accept the new ones after a yes. `forget` drops
    what was accepted of these hosts.

    Raises UsageError for mistakes in the inventory and where nobody is there to say yes.
    """
    chosen = [host for host in load_hosts(hosts, limit) if not host.local]
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        ways = dict(zip(chosen, pool.map(route, chosen), strict=True))
    rounds = in_order(ways)
    if forget:
        return forgotten({host.name: way for part in rounds for host, way in part.items()}, forget)
    told: list[tuple[Offer, bool]] = []
    for part in rounds:  # a host behind a jump host is reached only when that one's key is accepted
        with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
            offers = list(pool.map(lambda pair: scan(*pair), part.items()))
        console.print(listed(offers))
        new = [offer for offer in offers if offer.state == "new"]
        accepted = bool(new) and (yes or confirmed(new, hosts))
        if accepted:
            add(new)
        told += [(offer, accepted) for offer in offers]
    files = sorted({str(offer.way.file) for offer, _ in told})
    added = [offer for offer, accepted in told if accepted and offer.state == "new"]
    return Outcome(
        {"known_hosts": files[0] if files else "", "hosts": [data(*pair) for pair in told]},
        failures=[failure for pair in told for failure in trouble(*pair, hosts)],
        text=f"{len(added)} accepted, in {', '.join(sorted({shown(o.way.file) for o in added}))}" if added else None,
    )


def in_order(ways: dict[Host, Route]) -> list[dict[Host, Route]]:
    """The hosts with the jump hosts that they need, in rounds: each needs those of the rounds before."""
    rounds: list[dict[Host, Route]] = []
    seen: set[tuple[str, int]] = set()
    for host, way in ways.items():
        for depth, spec in enumerate(way.jumps):
            address, variables = jump_variables(host, spec, way.jumps[:depth])
            jump = Host(f"{address} (jump host)", address, (), variables)
            found = route(jump)
            rounds += [{} for _ in range(depth + 1 - len(rounds))]
            if (found.key_name, depth) not in seen:
                seen.add((found.key_name, depth))
                rounds[depth][jump] = found
    last = max((len(way.jumps) for way in ways.values()), default=0)
    rounds += [{} for _ in range(last + 1 - len(rounds))]
    for host, way in ways.items():
        rounds[len(way.jumps)][host] = way
    return rounds


def listed(offers: Sequence[Offer]) -> Table:
    """For people: each host's keys."""
    grid = Table(box=None, pad_edge=False)
    for title in ("host", "address", "state", "fingerprint"):
        grid.add_column(title, no_wrap=title != "fingerprint")
    for offer in offers:
        for key in offer.shown or [""]:
            grid.add_row(offer.host.name, offer.name, offer.state, fingerprint(key) if key else "no answer")
    return grid


def trouble(offer: Offer, accepted: bool, hosts: str) -> list[str]:
    """What is wrong with what a host showed, in a line."""
    name = offer.host.name
    if offer.state == "changed":
        return [
            f"{name}: its key has changed: reinstalled? then: inv trust --forget {shlex.quote(name)} --hosts {hosts}. "
            "Otherwise somebody stands between: do not go on"
        ]
    if offer.state == "silent" and offer.way.proxied:
        why = f" ({offer.trouble})" if offer.trouble else ""
        return [f"{name}: no answer from {offer.name} through its jump host{why}: can you log in to that one by ssh?"]
    if offer.state == "silent":
        return [f"{name}: no answer from {offer.name}: is it on, is sshd running?"]
    return [f"{name}: not accepted"] if offer.state == "new" and not accepted else []


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


def scan(host: Host, way: Route) -> Offer:
    """What a host shows, and what is known of it."""
    known = _run(["ssh-keygen", "-F", way.key_name, "-f", str(way.file)]).stdout if way.file.is_file() else ""
    if way.proxied:
        told, trouble = _login(host)
    else:
        argv = ["ssh-keyscan", "-T", str(SCAN_SECONDS), "-t", KINDS, "-p", str(way.port), way.address]
        told, trouble = _run(argv).stdout, ""
    return Offer(host, way, sorted(_keys(told)), sorted(_keys(known)), trouble)


def _login(host: Host) -> tuple[str, str]:
    """The key that a host behind a jump host shows to a login that ends there: ssh-keyscan knows no jump hosts."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "known_hosts")
        own = {
            "StrictHostKeyChecking": "accept-new", "UserKnownHostsFile": file, "GlobalKnownHostsFile": "/dev/null",
            "HashKnownHosts": "no", "PreferredAuthentications": "none", "HostKeyAlgorithms": PREFERRED,
            "ControlPath": "none",
        }  # fmt: skip
        words = [word for name, value in own.items() for word in ("-o", f"{name}={value}")]
        said = _run(["ssh", *words, *options(host), host.address, "true"]).stderr
        return file.read_text(encoding="utf-8") if file.is_file() else "", last_line(said, "")


def _keys(text: str) -> list[str]:
    return [" ".join(line.split()[1:3]) for line in text.splitlines() if line and not line.startswith("#")]


def _run(argv: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=3 * SCAN_SECONDS, cwd=ROOT, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"no answer within {3 * SCAN_SECONDS} s")


def fingerprint(key: str) -> str:
    """A key's fingerprint as ssh itself shows it: `SHA256:... (ED25519)`."""
    words = _run(["ssh-keygen", "-l", "-f", "-"], key).stdout.split()
    return f"{words[1]} {words[-1]}"


def add(offers: Sequence[Offer]) -> None:
    """Write down the keys, each file whole or not at all."""
    for path in {offer.way.file for offer in offers}:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        mine = [offer for offer in offers if offer.way.file == path]
        lines = "".join(f"{offer.name} {key}\n" for offer in mine for key in offer.shown)
        draft = path.with_suffix(".draft")
        draft.write_text(before + lines, encoding="utf-8")
        draft.replace(path)


def forgotten(ways: dict[str, Route], names: Sequence[str]) -> Outcome:
    """Drop what is known of some hosts. Raises UsageError for a name the inventory does not have."""
    for name in names:
        if name not in ways:
            raise UsageError(f"--forget {name}: no such host in the inventory", f"known: {', '.join(ways)}")
        if ways[name].file.is_file():
            _run(["ssh-keygen", "-R", ways[name].key_name, "-f", str(ways[name].file)])
    return Outcome(
        {"forgotten": list(names)}, text=f"forgotten: {', '.join(names)}; now inv trust shows their keys anew"
    )
