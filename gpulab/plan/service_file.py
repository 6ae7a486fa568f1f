"""A service as a file of docker compose: its servers as containers that come back, nginx in front of several."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.common.docker import RUN
from gpulab.plan import balancer
from gpulab.plan.container import Place, handed_on, volumes
from gpulab.plan.plan import Command, Plan
from gpulab.plan.script import READY

KEY = "GPULAB_API_KEY"
VLLMS_KEY = f"VLLM_API_KEY=${{{KEY}:-}}"  # filled in by compose, so that no file holds it
GRACE = 20  # seconds in which requests may end that have begun
EACH, PATIENCE, TRIES = 15, 20, 4  # seconds between two questions, for an answer; how many may fail
GPUS: dict[str, Any] = {"deploy": {"resources": {"reservations": {"devices": [
    {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]},
]}}}}  # fmt: skip


@dataclass(frozen=True)
class Server:
    """One server of a model: its command, its place, the address on which its port is published."""

    name: str
    command: Command
    place: Place
    address: str = "127.0.0.1"

    @property
    def at(self) -> str:
        """Where nginx reaches it."""
        return f"{self.address}:{self.command.port}"


@dataclass(frozen=True)
class Front:
    """nginx in front of servers: its image, what it listens on, on the network of its host."""

    image: str
    listen: str
    servers: Sequence[str]


def project(folder: Path, name: str) -> str:
    """The name of a service's project: an engine may serve several people."""
    plain = re.sub(r"[^a-z0-9_-]", "-", name.lower())
    return f"gpulab-{plain}-{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"


def compose(plan: Plan, called: str, name: str, servers: Sequence[Server], within: int, front: Front | None) -> Any:
    """The file's content for one engine: `called` is the project, `name` what clients call the model."""
    made: dict[str, Any] = {server.name: _server(plan, server, name, within) for server in servers}
    file = {"name": called, "services": made, "networks": {"default": {"labels": _labels(plan)}}}
    if front:
        made["front"] = _front(plan, front)
        text = balancer.configuration(front.listen, front.servers)
        file["configs"] = {"nginx": {"content": _literal(text)}}
    return file


def _server(plan: Plan, server: Server, name: str, within: int) -> dict[str, Any]:
    command, place = server.command, server.place
    environment = {**place.environment, **command.env}
    told = [*handed_on(environment), KEY, *([VLLMS_KEY] if command.argv[0] == "vllm" else [])]
    return {
        **_usual(plan, place.image, place.user),
        "pull_policy": "never",
        "command": [_literal(word) for word in command.argv],
        "working_dir": str(command.cwd),
        "environment": [*told, *(_literal(f"{key}={value}") for key, value in environment.items())],
        "volumes": [_literal(word) for word in volumes(place)[1::2]],
        **({"shm_size": place.shm} if place.shm else {}),
        **_hardware([*place.gpus, *(place.fabric or [])]),
        **_reached(server, name, within),
    }


def _reached(server: Server, name: str, within: int) -> dict[str, Any]:
    """Its network, and how it is asked whether it is well: a node that only works for another is not."""
    port, shared = server.command.port, server.place.fabric is not None
    network: dict[str, Any] = {"network_mode": "host"} if shared else {"ports": [f"{server.at}:{port}"]}
    if not port:
        return network
    test = ["CMD", "python", str(READY), f"http://127.0.0.1:{port}/v1", _literal(name), "0"]
    often = {"interval": f"{EACH}s", "timeout": f"{PATIENCE}s", "retries": TRIES, "start_period": f"{within}s"}
    return {**network, "healthcheck": {"test": test, **often}}


def _front(plan: Plan, front: Front) -> dict[str, Any]:
    port = front.listen.rpartition(":")[2]
    knock = ["CMD", "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]  # the image need not have curl
    return {
        **_usual(plan, front.image, "65534:65534"),
        "network_mode": "host",
        "entrypoint": list(balancer.COMMAND),
        "configs": [{"source": "nginx", "target": balancer.FILE}],
        "healthcheck": {"test": knock, "interval": f"{EACH}s", "timeout": f"{PATIENCE}s"},
    }


def _usual(plan: Plan, image: str, user: str) -> dict[str, Any]:
    return {
        "image": image, "user": user, "init": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped", "stop_grace_period": f"{GRACE}s", "labels": _labels(plan),
    }  # fmt: skip


def _labels(plan: Plan) -> dict[str, str]:
    return {RUN: _literal(str(plan.run))}


def _hardware(words: Sequence[str]) -> Mapping[str, Any]:
    """compose's words for docker's own: for GPUs, and for the cards between hosts."""
    pairs = list(zip(words[::2], words[1::2], strict=True))
    devices = [value for word, value in pairs if word == "--device"]
    own: dict[str, Any] = {"devices": devices} if devices else {}
    own |= {"cap_add": [value for word, value in pairs if word == "--cap-add"]} if ("--cap-add" in words) else {}
    own |= GPUS if "--gpus" in words else {}
    return {**own, "ulimits": {"memlock": -1, "stack": 67108864}} if own else own


def _literal(word: str) -> str:
    """As it is: compose would take `$NAME` for a variable."""
    return word.replace("$", "$$")
