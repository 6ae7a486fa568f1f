"""What nodes need of each other before a spread step starts: the same files, and a way to the master."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.ssh import Answer, ask

MEET = 15  # seconds that the master waits for the others
MEETING = ROOT / "gpulab/inside/meeting.py"


def cut_off(compute_nodes: list[ComputeNode], port: int) -> str | None:
    """Which host does not reach the master any more, in a line; None while all do. A refused connection came through,
    and of a host that does not answer from here nothing is known."""
    master, others = compute_nodes[0], compute_nodes[1:]
    knock = ["python3", "-", "knock", master.address, str(port), "0", "6", ""]
    answers = ask([compute_node.host for compute_node in others], lambda _: knock, stdin=MEETING.read_text())
    for name, answer in answers.items():
        said = _found(answer)["trouble"] if not answer.problem else ""
        if said and "refused" not in said:
            return f"{name} does not reach {master.host.name} at {master.address} any more ({said})"
    return None


def must_be_one(compute_nodes: Sequence[ComputeNode], file: Path, port: int | None) -> None:
    """Raise UsageError where a host does not see a file that the first has in the shared folder; for ranks that meet on
    a `port`, also where the master's is taken, or another host cannot reach it. Each host is asked once.
    """
    master, others = compute_nodes[0], compute_nodes[1:]

    def argv(host: object) -> list[str]:
        role = "look" if port is None else "listen" if host is master.host else "knock"
        seconds = MEET if role == "listen" else MEET - 3
        return ["python3", "-", role, master.address, str(port or 0), str(len(others)), str(seconds), str(file)]

    hosts = [compute_node.host for compute_node in compute_nodes]
    answers = ask(hosts, argv, stdin=MEETING.read_text(), deadline=MEET + 15, login="kept")
    for name, answer in answers.items():
        if not (answer.problem and port) and not _found(answer)["sees"]:
            raise UsageError(
                f"{name} does not see {file} of {master.host.name}: {master.shared} is not shared",
                "name a host in the inventory's group [storage] and provision, or mount one folder there on all",
            )
    trouble = {name: answer.problem or _found(answer)["trouble"] for name, answer in answers.items()}
    if taken := trouble.pop(master.host.name):
        raise UsageError(
            f"port {port} of {master.host.name} ({master.address}) can't be listened on: {taken}",
            "wait for the other run to end: ./inv runs",
        )
    for name, closed in trouble.items():
        if closed:
            raise UsageError(
                f"{name} cannot reach {master.host.name} at {master.address}:{port}: {closed}",
                "open the ports 29400-29600 between the hosts, or set fabric_interface; ./inv verify --only across",
            )


def _found(answer: Answer) -> dict[str, Any]:
    """What a node said; it sees nothing where it said nothing."""
    told: dict[str, Any] = json.loads(answer.stdout) if answer.stdout.strip() else {"trouble": "", "sees": False}
    return told
