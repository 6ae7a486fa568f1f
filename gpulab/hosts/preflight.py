"""What nodes need of each other before a spread step starts: the same files, and a way to the master."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.ssh import ask

MEET = 15  # seconds that the master waits for the others
THERE = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).is_file())"
# The master listens where the rendezvous will, the others knock: a taken port and a closed way both show.
LISTEN = """
import socket, sys, time
address, port, count, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
with socket.socket() as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind((address, port))
    except OSError as error:
        print(error)
        sys.exit()
    s.listen(count)
    s.settimeout(seconds)
    for _ in range(count):
        try:
            s.accept()[0].close()
        except OSError:
            break
"""
KNOCK = """
import socket, sys, time
end = time.time() + float(sys.argv[3])
while True:
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
        sys.exit()
    except OSError as error:
        if time.time() > end:
            print(error)
            sys.exit()
        time.sleep(0.2)
"""


def cut_off(compute_nodes: list[ComputeNode], port: int) -> str | None:
    """Which host does not reach the master any more, in a line; None while all do. A refused connection came through,
    and of a host that does not answer from here nothing is known."""
    master, others = compute_nodes[0], compute_nodes[1:]
    knock = ["python3", "-c", KNOCK, master.address, str(port), "6"]
    for name, answer in ask([compute_node.host for compute_node in others], lambda _: knock).items():
        said = answer.stdout.strip()
        if said and "refused" not in said:
            return f"{name} does not reach {master.host.name} at {master.address} any more ({said})"
    return None


def must_share(compute_nodes: list[ComputeNode], file: Path) -> None:
    """Raise UsageError where a host does not see a file that the first has in the shared folder."""
    answers = ask([compute_node.host for compute_node in compute_nodes], lambda _: ["python3", "-c", THERE, str(file)])
    for name, answer in answers.items():
        if answer.stdout.strip() != "True":
            raise UsageError(
                f"{name} does not see {file} of {compute_nodes[0].host.name}: {compute_nodes[0].shared} is not shared",
                "name a host in the inventory's group [storage] and provision, or mount one folder there on all",
            )


def must_meet(compute_nodes: list[ComputeNode], port: int) -> None:
    """Raise UsageError where the master's port is taken, or another host cannot reach it."""
    master, others = compute_nodes[0], compute_nodes[1:]
    with ThreadPoolExecutor(2) as pool:
        count, place = str(len(others)), [master.address, str(port)]
        listening = pool.submit(
            ask, [master.host], lambda _: ["python3", "-c", LISTEN, *place, count, str(MEET)], deadline=MEET + 15
        )
        knock = ["python3", "-c", KNOCK, *place, str(MEET - 3)]
        knocks = ask([compute_node.host for compute_node in others], lambda _: knock, deadline=MEET + 15)
        heard = listening.result()[master.host.name]
    if taken := heard.problem or heard.stdout.strip():
        raise UsageError(
            f"port {port} of {master.host.name} ({master.address}) can't be listened on: {taken}",
            "wait for the other run to end: ./inv runs",
        )
    for name, answer in knocks.items():
        if closed := answer.problem or answer.stdout.strip():
            raise UsageError(
                f"{name} cannot reach {master.host.name} at {master.address}:{port}: {closed}",
                "open the ports 29400-29600 between the hosts, or set fabric_interface; ./inv verify --only across",
            )
