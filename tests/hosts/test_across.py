"""What concerns more than one host: they are the same, and they reach each other."""

import re
import threading
import time
import uuid
from collections.abc import Iterator
from itertools import permutations

import pytest
from testinfra.host import Host

from tests.hosts.check import check, not_tried
from tests.hosts.conftest import find_gpus, name_of, topology, variables_of

RENDEZVOUS = 29500
LISTEN = """
import socket
server = socket.create_server(("", {port}), reuse_port=True)
server.settimeout(20)
for _ in range({times}):
    server.accept()[0].close()
"""
CONNECT = """
import socket, sys, time
end = time.monotonic() + 10
while True:
    try:
        socket.create_connection(("{address}", {port}), timeout=2).close()
        break
    except OSError as error:
        if time.monotonic() > end:
            sys.exit(str(error))
        time.sleep(0.1)
"""

HOLD = """
import fcntl, os, time
end = time.monotonic() + 30
with open("{probe}", "r+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    while os.path.exists("{probe}") and time.monotonic() < end:
        time.sleep(0.05)
"""
# Until the lock that another host holds is seen.
MEET = """
import fcntl, sys, time
end = time.monotonic() + 5
with open("{probe}", "r+") as file:
    while time.monotonic() < end:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit()
        fcntl.lockf(file, fcntl.LOCK_UN)
        time.sleep(0.1)
sys.exit(1)
"""


@pytest.fixture(scope="module")
def several(hosts: list[Host]) -> list[Host]:
    if len(hosts) < 2:
        pytest.skip("there is one host only")
    return hosts


def answers(hosts: list[Host], command: str) -> dict[str, str]:
    return {name_of(host): host.run(command).stdout.strip() for host in hosts}


def address(host: Host) -> str:
    """Of the interface that nodes meet over; the inventory's may be known to ssh alone."""
    script = 'ip -o -4 address show dev "$(sed -n s/^NCCL_SOCKET_IFNAME=//p /etc/nccl.conf)"'
    found = re.search(r" inet ([0-9.]+)", host.run(script).stdout)
    return found[1] if found else str(host.ansible.get_variables().get("ansible_host", name_of(host)))


@pytest.fixture(scope="module")
def with_gpus(several: list[Host]) -> list[Host]:
    found = [host for host in several if find_gpus(host, variables_of(host))]
    if len(found) < 2:
        pytest.skip("fewer than two hosts have GPUs")
    if silent := [name_of(host) for host in found if host.run("nvidia-smi -L").rc]:
        not_tried("nvidia_driver.answers", ", ".join(silent))
    return found


@pytest.fixture
def probe(several: list[Host]) -> Iterator[str]:
    """A file that the first host put into the shared folder."""
    first = variables_of(several[0])
    kind = first.get("lab_storage_kind", "nfs" if first.get("groups", {}).get("storage") else "local")
    if kind == "local":
        pytest.skip("every host has its own folder (lab_storage_kind=local)")
    # A new name each time: a client remembers for a while which names were not there.
    path = f"{first['lab_storage_path']}/.shared-{uuid.uuid4().hex}"
    several[0].run_expect([0], f"touch {path}")
    yield path
    several[0].run(f"rm -f {path}")


@check("across.driver", "provision all hosts: they get the version of docker/stacks.yml")
def test_all_hosts_run_one_driver(with_gpus: list[Host]) -> None:
    versions = answers(with_gpus, "nvidia-smi --query-gpu=driver_version --format=csv,noheader | sort -u")
    assert len(set(versions.values())) == 1, versions


@check("across.gpus", "train on hosts of one kind at a time: the slowest GPU sets the pace")
def test_all_hosts_have_the_same_gpus(with_gpus: list[Host]) -> None:
    found = answers(with_gpus, "nvidia-smi --query-gpu=name --format=csv,noheader")
    assert len(set(found.values())) == 1, found


@check("across.topology", "compare slots, bridges and the firmware's NUMA settings: inv fingerprint --host A --host B")
def test_all_hosts_have_their_gpus_wired_alike(with_gpus: list[Host]) -> None:
    found = {name: topology(text) for name, text in answers(with_gpus, "nvidia-smi topo -m").items()}
    assert len(set(map(str, found.values()))) == 1, found


@check("across.time", "see `chronyc tracking` on the hosts, set base_time_servers")
def test_all_clocks_agree(several: list[Host]) -> None:
    offsets = {}
    for host in several:
        before = time.time()
        theirs = float(host.run("date +%s.%N").stdout)
        offsets[name_of(host)] = theirs - (before + time.time()) / 2
    assert max(offsets.values()) - min(offsets.values()) < 1, offsets


@check("across.reachability", "open the rendezvous ports 29400-29600 between the hosts (firewall, security group)")
def test_every_host_reaches_every_other_on_the_rendezvous_port(several: list[Host]) -> None:
    listen = LISTEN.format(port=RENDEZVOUS, times=len(several) - 1)
    listeners = [threading.Thread(target=host.run, args=(f"python3 -c '{listen}'",)) for host in several]
    for thread in listeners:
        thread.start()
    unreached = {}
    for source, target in permutations(several, 2):
        answer = source.run(f"python3 -c '{CONNECT.format(address=address(target), port=RENDEZVOUS)}'")
        if answer.rc:
            unreached[f"{name_of(source)} -> {name_of(target)}"] = answer.stderr.strip()
    for thread in listeners:
        thread.join()
    assert unreached == {}


@check("across.mtu", "give the interfaces one MTU: large messages hang where it differs")
def test_all_interfaces_have_one_mtu(several: list[Host]) -> None:
    script = 'i=$(sed -n s/^NCCL_SOCKET_IFNAME=//p /etc/nccl.conf); cat "/sys/class/net/$i/mtu"'
    found = answers(several, script)
    assert len(set(found.values())) == 1, found


@check("across.storage", "see `findmnt` on the hosts, and provision with --tags lab_storage")
def test_the_shared_folder_is_shared(several: list[Host], probe: str) -> None:
    inodes = answers(several, f"stat -c %i {probe}")
    assert len(set(inodes.values())) == 1 and all(inodes.values()), inodes


@check("across.storage-lock", "mount the shared folder without nolock and local_lock: two hosts would write one file")
def test_a_lock_of_one_host_is_seen_by_the_others(several: list[Host], probe: str) -> None:
    holder = threading.Thread(target=several[0].run, args=(f"python3 -c '{HOLD.format(probe=probe)}'",))
    holder.start()
    try:
        meet = MEET.format(probe=probe)
        unseen = [name_of(host) for host in several[1:] if host.run(f"python3 -c '{meet}'").rc]
    finally:
        several[0].run(f"rm -f {probe}")
        holder.join()
    assert unseen == []
