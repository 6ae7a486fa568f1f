"""Interfaces, the way out, RDMA, ports."""

from __future__ import annotations

import contextlib
import re
import socket
from pathlib import Path
from typing import Any

from gpulab.inside.machine.reading import PLACES, read


def network() -> dict[str, Any]:
    """Interfaces, the way out, RDMA devices, listening ports, and whether the host's own name is a loopback address."""
    route = next((r.split() for r in read("/proc/net/route").splitlines()[1:] if r.split()[1] == "00000000"), [""])
    links = {}
    for link in sorted(Path("/sys/class/net").glob("*")):
        if not re.match(r"lo$|veth|br-|docker|bonding", link.name):
            links[link.name] = {name: read(link / name) for name in ("mtu", "operstate", "speed")}
    rdma = {d.name: read(d / "ports/1/state") for d in sorted(Path(PLACES["rdma"]).glob("*"))}
    listening = {
        int(row.split()[1].rsplit(":", 1)[1], 16)
        for table in ("tcp", "tcp6") for row in read(f"/proc/net/{table}").splitlines()[1:] if row.split()[3] == "0A"
    }  # fmt: skip
    own: list[str] = []
    with contextlib.suppress(OSError):
        own = sorted({str(a[4][0]) for a in socket.getaddrinfo(socket.gethostname(), None)})
    libraries = list(Path("/usr/lib").glob("*/libibverbs*/*-rdmav*.so")) if rdma else []
    return {"default": route[0], "interfaces": links, "rdma": rdma, "rdma_nodes": Path("/dev/infiniband").is_dir(),
            "rdma_providers": len(libraries), "listening": sorted(listening), "own_addresses": own}  # fmt: skip
