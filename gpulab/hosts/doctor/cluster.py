"""Problems between hosts: rendezvous, interfaces, InfiniBand, caches, proxies."""

from __future__ import annotations

import ipaddress

from gpulab.hosts.doctor.check import Finding, State, check, note, sick, verdict, well

SHARED = ("nfs", "lustre", "ceph", "beegfs", "gpfs", "glusterfs", "fuse", "wekafs", "virtiofs", "9p")
ENOUGH_GIB = 50
DEFAULT_PORT = "29500"


def variables(state: State) -> dict[str, str]:
    """What programs are told by the environment."""
    told: dict[str, str] = state.get("environment", {}).get("variables", {})
    return told


def many(state: State) -> bool:
    """Whether more than one host is meant."""
    return int(state.get("lab", {}).get("hosts", 1)) > 1 or variables(state).get("NNODES", "1") not in ("", "1")


def loopback(address: str) -> bool:
    """Whether an address or a name means this machine only."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@check(
    "rendezvous",
    "ranks of several hosts do not find each other: loopback as master, or a port in use",
    "set MASTER_ADDR to an address the others reach, and a free MASTER_PORT; in /etc/hosts give the host's name that "
    "address instead of 127.0.1.1",
    "#2485 #6982 #2057 #4897 #2192 #3988 #8133",
)
def rendezvous(state: State) -> Finding | None:
    if not state.get("network"):
        return None
    told, network, problems = variables(state), state["network"], []
    master, port = told.get("MASTER_ADDR", ""), told.get("MASTER_PORT", DEFAULT_PORT)
    if many(state) and loopback(master):
        problems.append(f"MASTER_ADDR={master} with several hosts")
    own = network["own_addresses"]
    if many(state) and own and all(map(loopback, own)):
        problems.append(f"the host's own name resolves to {', '.join(own)} only")
    if port.isdigit() and int(port) in network["listening"]:
        problems.append(f"port {port} is in use")
    return verdict(problems, f"port {port} is free")


@check(
    "nccl-interface",
    "NCCL picks the wrong network interface and hangs",
    "set NCCL_SOCKET_IFNAME to the interface the hosts share (the role fabric does)",
    "#8043 #3343 #2443 #1233",
)
def nccl_interface(state: State) -> Finding | None:
    if not state.get("network"):
        return None
    links = state["network"]["interfaces"]
    named = variables(state).get("NCCL_SOCKET_IFNAME", "")
    if named and named[0] not in "^=":
        if not any(link.startswith(prefix) for link in links for prefix in named.split(",")):
            return sick(f"NCCL_SOCKET_IFNAME={named}, there are {', '.join(links)}")
        return well(f"NCCL_SOCKET_IFNAME={named}")
    up = [name for name, link in links.items() if link["operstate"] == "up"]
    if many(state) and not named and len(up) > 1:
        return sick(f"{', '.join(up)} are up, and NCCL_SOCKET_IFNAME is not set")
    return well(named or ", ".join(up) or "no interface is up")


@check(
    "infiniband-unused",
    "InfiniBand is there and NCCL does not use it",
    "unset NCCL_IB_DISABLE, set memlock to unlimited (the role base does), start containers with /dev/infiniband and "
    "IPC_LOCK; the log must say NET/IB",
    "#1825 #4291",
)
def infiniband_unused(state: State) -> Finding | None:
    rdma = state.get("network", {}).get("rdma", {})
    if not rdma:
        return None
    told, problems = variables(state), []
    if told.get("NCCL_IB_DISABLE", "0") not in ("", "0"):
        problems.append(f"NCCL_IB_DISABLE={told['NCCL_IB_DISABLE']}")
    if not state["network"]["rdma_nodes"]:
        problems.append("no /dev/infiniband")
    if state.get("memory", {}).get("memlock_kib", -1) != -1:
        problems.append(f"memlock is {state['memory']['memlock_kib']} KiB")
    down = [name for name, port in rdma.items() if "ACTIVE" not in port]
    if len(down) == len(rdma):
        problems.append(f"no active port on {', '.join(down)}")
    return verdict(problems, ", ".join(rdma))


@check(
    "caches",
    "hosts do not share their caches, or a cache's disk is full",
    "put MODELSCOPE_CACHE and HF_HOME on a shared folder with room (the role lab_storage does)",
    "#8234 #8269 #8120 #8363 #8417 #4691 #2974 #5590",
)
def caches(state: State) -> Finding | None:
    found = state.get("environment", {}).get("caches", {})
    if not found:
        return None
    problems = []
    for name, cache in found.items():
        if cache["free_gib"] < ENOUGH_GIB:
            problems.append(f"{name}: {cache['free_gib']} GiB free at {cache['path']}")
        if many(state) and name == "MODELSCOPE_CACHE" and not cache["file_system"].startswith(SHARED):
            problems.append(f"{name}: {cache['path']} is on {cache['file_system']}, each host's own")
    triton = found.get("TRITON_CACHE_DIR", {})
    if not problems and triton.get("file_system", "").startswith(SHARED):
        return note(f"TRITON_CACHE_DIR is on {triton['file_system']}: a local disk is faster and safer")
    return verdict(problems, ", ".join(f"{cache['free_gib']} GiB" for cache in found.values()))


@check(
    "local-proxy",
    "calls to 127.0.0.1 go to a proxy: the GRPO server times out",
    "no_proxy=localhost,127.0.0.1,::1, and the hosts' addresses",
    "#5545 #5781 #9416 #5910",
)
def local_proxy(state: State) -> Finding | None:
    told = {name.lower(): value for name, value in variables(state).items()}
    proxies = [name for name in ("http_proxy", "all_proxy") if told.get(name)]
    if not proxies:
        return well("no proxy for http")
    spared = [word.strip() for word in told.get("no_proxy", "").split(",")]
    if "*" in spared or {"localhost", "127.0.0.1"} <= set(spared):
        return well("no_proxy spares this machine")
    return sick(f"{' and '.join(proxies)} set, no_proxy={told.get('no_proxy', '')!r}")
