"""What a host offers a run, as one JSON object: whose files, free disk, and where its nodes meet. Sent over ssh.

`python3 - RUNS ENVIRONMENT ADDRESS [NCCL.CONF]`; ADDRESS is the one that the inventory names.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# Of engines, virtual machines and containers: no other host is behind them.
INNER = re.compile(r"^(lo$|docker|br-[0-9a-f]{12}$|veth|virbr|cni|flannel|cali|podman|lxdbr|lxcbr|vnet|tap)")


def addresses() -> dict[str, str]:
    """Every interface with its IPv4 address, empty where it has none."""
    return {name: address(name) for _, name in socket.if_nameindex()}


def address(name: str) -> str:
    """An interface's IPv4 address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            told = fcntl.ioctl(asking, 0x8915, struct.pack("256s", name.encode()[:15]))
        except OSError:
            return ""
    return socket.inet_ntoa(told[20:24])


def default_route(table: str) -> str:
    """The interface of the default route, by the text of /proc/net/route."""
    rows = [row.split() for row in table.splitlines()[1:]]
    ways = [(int(row[6]), row[0]) for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"]
    return min(ways)[1] if ways else ""


def told_interfaces(conf: str, known: Sequence[str]) -> list[str] | None:
    """Those of the interfaces that NCCL_SOCKET_IFNAME in an nccl.conf chooses, as NCCL reads it: beginnings of names,
    `=` before whole names, `^` before those to leave out. None where it says nothing.
    """
    found = re.findall(r"^\s*NCCL_SOCKET_IFNAME\s*=\s*(\S+)", conf, re.MULTILINE)
    if not found:
        return None
    signs, names = re.fullmatch(r"([=^]*)(.*)", found[-1]).groups()  # type: ignore[union-attr]  # it matches anything
    words = [word for word in names.split(",") if word]

    def hit(name: str) -> bool:
        return any(name == word if "=" in signs else name.startswith(word) for word in words)

    if "^" in signs:
        return [name for name in known if not hit(name)]
    # What is named whole comes before what only begins so: eth1 before eth10.
    return sorted((name for name in known if hit(name)), key=lambda name: name not in words)


def told_settings(conf: str) -> dict[str, str]:
    """What an nccl.conf sets beside the interface. The file is the host's, and no container sees it."""
    found = dict(re.findall(r"^\s*(NCCL_\w+)\s*=\s*(\S+)", conf, re.MULTILINE))
    return {name: value for name, value in found.items() if name != "NCCL_SOCKET_IFNAME"}


def choose(conf: str, found: Mapping[str, str], reached_at: Sequence[str], route: str) -> tuple[str, str]:
    """The interface for traffic between nodes, or none and why: what /etc/nccl.conf (role fabric) chooses; where it
    says nothing the one at whose address this host is reached, that of the default route, then any that leads out.
    """
    outer = [name for name, own in found.items() if own and not INNER.match(name)]
    told = told_interfaces(conf, list(found))
    if told is not None:
        usable = [name for name in told if name in outer]
        if usable:
            return usable[0], ""
        named = re.findall(r"NCCL_SOCKET_IFNAME\s*=\s*(\S+)", conf)[-1]
        why = "which is not there"
        if told:
            why = "which leads to no other host" if any(found[name] for name in told) else "which has no address"
        return "", f"/etc/nccl.conf names {named}, {why}"
    known = [name for name in outer if found[name] in reached_at]
    chosen = next(iter([*known, *([route] if route in outer else []), *outer]), "")
    return chosen, "" if chosen else "no interface has an address"


def facts(runs: Path, told: Path, known: str, conf: Path) -> dict[str, object]:
    """All of it. The caller's own uid, the shared folder's group: what a run writes is the caller's, and the group can
    read on."""
    found = addresses()
    came_to = os.environ.get("SSH_CONNECTION", "").split()[2:3]
    route = default_route(Path("/proc/net/route").read_text())
    written = conf.read_text() if conf.is_file() else ""
    interface, trouble = choose(written, found, [known, *came_to], route)
    shm = shutil.disk_usage("/dev/shm")  # noqa: S108 (looked at, nothing is put there)
    return {
        "uid": os.getuid(), "gid": runs.stat().st_gid if runs.is_dir() else None,
        "told": told.read_text() if told.is_file() else "",
        "free_gib": shutil.disk_usage(runs).free / 2**30 if runs.is_dir() else 0,
        "shm_mib": shm.total // 2**20,
        "interface": interface, "address": found.get(interface, ""), "no_interface": trouble,
        "nccl": told_settings(written), "now": time.time(),
        "rdma": Path("/dev/infiniband").is_dir(),
    }  # fmt: skip


if __name__ == "__main__":
    places = [*sys.argv[1:], "/etc/nccl.conf"]
    print(json.dumps(facts(Path(places[0]), Path(places[1]), places[2], Path(places[3]))))
