"""How ssh gets to a host: its options, and what it makes of them with aliases, jump hosts and its own configuration."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.common.paths import ROOT
from gpulab.hosts.ansible import KNOWN_HOSTS, ssh_settings

if TYPE_CHECKING:
    from gpulab.hosts.inventory import Host

CONFIG = ROOT / "ansible" / "ssh_config"
CONNECT_SECONDS = 8
KEPT_OPEN = 60  # seconds: a docker command opens several connections, the next ones cost no login
# A host that dies while an image is on its way: ssh gives up after 20 s of silence, instead of never.
ALIVE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4")


def options(host: Host) -> list[str]:
    """ssh's options for the host: the inventory's, and ansible.cfg's."""
    v, settings = host.variables, ssh_settings()
    key = v.get("ansible_ssh_private_key_file") or v.get("ansible_private_key_file")
    words = ["-F", str(CONFIG), "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
    # What the inventory leaves open is ssh's own configuration's to say.
    words += ["-p", str(host.port)] if "ansible_port" in v else []
    words += ["-i", str(Path(str(key)).expanduser())] if key else []
    words += ["-l", host.user] if host.user else []
    # ssh takes the first value of an option, and the last -F: the inventory's.
    for name in ("ssh_common_args", "ssh_extra_args"):
        words += shlex.split(str(v.get(f"ansible_{name}", settings.get(name, ""))))
    return words


def kept_open() -> list[str]:
    """ssh's options for a login that is kept for a while, and that whoever goes the same way shares."""
    # a socket's path must be short
    socket = Path(tempfile.gettempdir()) / f"gpulab-ssh-{os.getuid()}"
    socket.mkdir(mode=0o700, exist_ok=True)
    shared = ["-o", "ControlMaster=auto", "-o", f"ControlPath={socket}/%C", "-o", f"ControlPersist={KEPT_OPEN}"]
    return [*shared, *ALIVE]


@dataclass(frozen=True)
class Route:
    """Where ssh goes: the name under which the host's key is kept and the file it is kept in, the address and port it
    connects to, the jump hosts on the way (as `user@host:port`), and whether anything stands between."""

    key_name: str
    file: Path
    address: str
    port: int
    jumps: tuple[str, ...]
    proxied: bool


def route(host: Host) -> Route:
    """What ssh itself says of the way to a host; nothing is connected."""
    argv = ["ssh", "-G", *options(host), host.address]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    told: dict[str, str] = dict(reversed([_pair(line) for line in done.stdout.splitlines()]))
    address, port = told.get("hostname", host.address), int(told.get("port", host.port))
    name = told.get("hostkeyalias") or address
    jumps = tuple(word for word in told.get("proxyjump", "none").split(",") if word != "none")
    files = shlex.split(told.get("userknownhostsfile", str(KNOWN_HOSTS)))
    return Route(
        key_name=name if port == 22 or "hostkeyalias" in told else f"[{name}]:{port}",
        file=ROOT / Path(files[0]).expanduser(),
        address=address,
        port=port,
        jumps=jumps,
        proxied=bool(jumps) or told.get("proxycommand", "none") != "none",
    )


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(" ")
    return name.lower(), value


def jump_variables(host: Host, spec: str, before: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """A jump host's address, and the variables of a host that ssh reaches as it reaches that: by configuration alone,
    through the jump hosts before it."""
    found = re.fullmatch(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:]+)(?::(?P<port>\d+))?/?", spec)
    parts = found.groupdict() if found else {"host": spec}
    words = options(host)
    own = [words[n + 1] for n, word in enumerate(words) if word == "-F"][-1]
    told = ["-F", own, *(["-J", ",".join(before)] if before else [])]
    variables: dict[str, object] = {"ansible_ssh_common_args": shlex.join(told), "ansible_ssh_extra_args": ""}
    if parts.get("user"):
        variables["ansible_user"] = parts["user"]
    if parts.get("port"):
        variables["ansible_port"] = int(parts["port"])
    return str(parts["host"]).strip("[]"), variables
