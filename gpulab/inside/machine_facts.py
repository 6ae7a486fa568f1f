"""What a machine is, as one JSON object: read only, the standard library only, so that it can be sent over ssh.

`python3 - PART... [pci=FOLDER] [driver=FILE] [rdma=FOLDER] < machine.py` prints the parts asked for; a part that can't
be read says so under `error`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NVIDIA = "0x10de"
SHM = "/dev/shm"  # noqa: S108 (looked at, nothing is put there)
GPU_CLASSES = ("0x0300", "0x0302")  # display and 3D controllers
# Where the kernel tells of them; the arguments may name other places.
PLACES = {"pci": "/sys/bus/pci/devices", "driver": "/sys/module/nvidia/version", "rdma": "/sys/class/infiniband"}
# What a program of the lab reads from its environment; nothing else is looked at.
TOLD = re.compile(
    r"^(NCCL_.*|GLOO_.*|MASTER_(ADDR|PORT)|NNODES|NODE_RANK|NPROC_PER_NODE|.*_proxy|.*_PROXY|CUDNN_PATH|CUDA_HOME"
    r"|MODELSCOPE_CACHE|HF_HOME|HF_DATASETS_CACHE|TRITON_CACHE_DIR|LD_LIBRARY_PATH|CUDA_VISIBLE_DEVICES)$"
)
CACHES = {"MODELSCOPE_CACHE": "~/.cache/modelscope", "HF_HOME": "~/.cache/huggingface", "TRITON_CACHE_DIR": "~/.triton"}
# Python packages that the known problems are about.
WATCHED = (
    "torch", "ms-swift", "transformers", "trl", "peft", "datasets", "evalscope", "flash-attn", "transformer-engine",
    "megatron-core", "mcore-bridge", "vllm", "sglang", "deepspeed", "flash-linear-attention",
    "fla-core", "causal-conv1d",
)  # fmt: skip
# These load compiled code against torch when imported: the only way to know that they fit.
COMPILED = {
    "flash-attn": "flash_attn",
    "transformer-engine": "transformer_engine.pytorch",
    "causal-conv1d": "causal_conv1d",
}
# Counters and identities: two equal hosts differ in them.
VOLATILE = re.compile(
    r"^(kernel\.(random|ns_last_pid|hostname|domainname|pty\.nr|tainted|sched_domain|bootloader|keys|usermodehelper)"
    r"|fs\.(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota|binfmt_misc|mqueue)|dev\."
    r"|net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.(?!all|default)|net\.netfilter\.nf_conntrack_count|net\.ipv4\.route"
    r"|vm\.(stat_refresh|compact_memory|drop_caches)|.*\.nf_log\b|user\.)"
)


def read(path: Path | str, limit: int = 100_000) -> str:
    """A file's text without surrounding blanks, empty where it can't be read."""
    try:
        return Path(path).read_bytes()[:limit].decode(errors="replace").strip()
    except OSError:
        return ""


def said(*argv: str, seconds: float = 10, root: bool = False) -> tuple[int, str, str]:
    """(status, output, complaint) of a program; 127 where there is none."""
    if root and os.geteuid():
        argv = ("sudo", "-n", *argv)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    except OSError:
        return 127, "", f"no {argv[0]}"
    except subprocess.TimeoutExpired:
        return 124, "", f"{argv[0]} gave no answer within {seconds:.0f} s"
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def system() -> dict[str, Any]:
    """Distribution, kernel, firmware."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', read("/etc/os-release"), re.MULTILINE))
    dmi = Path("/sys/class/dmi/id")
    return {
        "distribution": f"{release.get('ID', '?')} {release.get('VERSION_ID', '?')}",
        "kernel": platform.release(),
        "kernel_options": " ".join(
            w for w in read("/proc/cmdline").split() if not w.startswith(("root=", "BOOT_IMAGE="))
        ),
        "architecture": platform.machine(),
        "glibc": platform.libc_ver()[1],
        "python": platform.python_version(),
        "firmware": {name: read(dmi / name) for name in ("product_name", "board_name", "bios_vendor", "bios_version")},
        "cpu": next(iter(re.findall(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo"), re.MULTILINE)), ""),
        "cpus": os.cpu_count(),
        "numa_nodes": len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))),
    }


def memory() -> dict[str, Any]:
    """Memory, /dev/shm and the limits that pinned memory meets."""
    total = re.search(r"^MemTotal:\s+(\d+)", read("/proc/meminfo"), re.MULTILINE)
    shm = os.statvfs(SHM) if Path(SHM).is_dir() else None
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return {
        "gib": round(int(total[1]) / 2**20, 1) if total else 0,
        "shm_gib": round(shm.f_blocks * shm.f_frsize / 2**30, 2) if shm else 0,
        "memlock_kib": -1 if soft == resource.RLIM_INFINITY else soft // 1024,
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "huge_pages": int(read("/proc/sys/vm/nr_hugepages") or 0),
    }


def pci_gpus() -> list[dict[str, str]]:
    """NVIDIA GPUs on the PCI bus, driver or not."""
    found = []
    for device in sorted(Path(PLACES["pci"]).glob("*")):
        if read(device / "vendor") == NVIDIA and read(device / "class").startswith(GPU_CLASSES):
            names = ("device", "subsystem_device", "current_link_width", "current_link_speed", "numa_node")
            found.append({"address": device.name, **{name: read(device / name) for name in names}})
    return found


def gpus() -> dict[str, Any]:
    """GPUs by PCI, the driver loaded and installed, and what nvidia-smi says."""
    fields = ("name", "memory.total", "driver_version", "vbios_version", "pcie.link.gen.max", "pcie.link.width.max",
              "ecc.mode.current", "persistence_mode", "compute_mode", "mig.mode.current")  # fmt: skip
    status, table, complaint = said(
        "nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", seconds=20
    )
    lines = table.splitlines() if status == 0 else []
    rows = [dict(zip(fields, map(str.strip, line.split(",")), strict=False)) for line in lines]
    _, module, _ = said("modinfo", "-F", "version", "nvidia")
    return {
        "pci": pci_gpus(),
        "nodes": sorted(str(p) for p in Path("/dev").glob("nvidia*")),
        "driver_loaded": read(PLACES["driver"]),
        "driver_installed": module,
        "smi": {"status": status, "gpus": rows, "complaint": "" if status == 0 else (complaint or table)},
        "topology": said("nvidia-smi", "topo", "-m")[1] if rows else "",
    }


def containers() -> dict[str, Any]:
    """The engine, NVIDIA's toolkit, its CDI lists and the CUDA releases of the images."""
    status, info, complaint = said("docker", "info", "--format", "{{json .}}")
    if "permission denied" in info + complaint:  # not in the group docker: it takes root
        status, info, complaint = said("docker", "info", "--format", "{{json .}}", root=True)
        if "password" in complaint:
            raise PermissionError(complaint)
    about: dict[str, Any] = {}
    if status == 0:
        with contextlib.suppress(ValueError):
            about = json.loads(info)
    lists = []
    for path in [p for folder in ("/etc/cdi", "/var/run/cdi") for p in sorted(Path(folder).glob("nvidia*"))]:
        driver = re.search(
            r"lib(?:cuda|nvidia-ml)\.so\.(\d+[\d.]*\d)|driver[_ ]?version\D+(\d+[\d.]*\d)", read(path, 10**6)
        )
        named = {
            "driver": (driver[1] or driver[2]) if driver else "",
            "devices": len(re.findall(r"/dev/nvidia\d+\b", read(path))),
        }
        lists.append({"path": str(path), **named})
    return {
        "installed": bool(shutil.which("docker")),
        "complaint": "" if about.get("ServerVersion") else (complaint or "; ".join(about.get("ServerErrors") or [])),
        "engine": about.get("ServerVersion", ""),
        "cgroup_driver": about.get("CgroupDriver", ""),
        "cgroup_version": about.get("CgroupVersion", ""),
        "storage_driver": about.get("Driver", ""),
        "live_restore": about.get("LiveRestoreEnabled", False),
        "runtimes": sorted(about.get("Runtimes") or {}),
        "data_root_free_gib": free_gib(about.get("DockerRootDir") or "/var/lib/docker"),
        "toolkit": toolkit(),
        "device_links": device_links(),
        "cdi": lists,
        "cuda_images": cuda_images() if about.get("ServerVersion") else {},
    }


def device_links() -> int:
    """How many GPUs systemd knows by a link: without it, they are lost to containers when it reloads."""
    numbers = [device.stat().st_rdev for device in Path("/dev").glob("nvidia[0-9]*")]
    return sum(Path(f"/dev/char/{os.major(n)}:{os.minor(n)}").exists() for n in numbers)


def toolkit() -> str:
    """What NVIDIA's toolkit calls itself, empty where there is none."""
    status, told, _ = said("nvidia-ctk", "--version")
    return "" if status == 127 else (told.splitlines() or ["of unknown version"])[0]


def cuda_images() -> dict[str, str]:
    """Each image that states its CUDA release, with it."""
    _, listed, _ = said("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", root=True)
    names = [name for name in listed.splitlines() if "<none>" not in name]
    _, told, _ = said("docker", "image", "inspect", "--format", "{{json .Config.Env}}", *names, root=True)
    stated = [re.search(r'"CUDA_VERSION=([\d.]+)"', variables) for variables in told.splitlines()]
    return {name: cuda[1] for name, cuda in zip(names, stated, strict=False) if cuda}


def free_gib(path: str) -> float:
    """Free space of the file system that `path` is or would be on."""
    folder = Path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return round(shutil.disk_usage(folder).free / 2**30, 1)


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


def environment() -> dict[str, Any]:
    """What programs of the lab are told by the environment (a login's, over ssh), and the caches it names."""
    everything = dict(re.findall(r"^(\w+)=(.*)$", read("/etc/nccl.conf"), re.MULTILINE)) | os.environ
    if "SSH_CONNECTION" in everything:  # no login shell has run yet
        _, out, _ = said("bash", "-lc", "env -0")
        everything |= dict(pair.split("=", 1) for pair in out.split("\0") if "=" in pair)
    # A password in an address may hold / and @.
    told = {k: re.sub(r"(?<=://)\S*@", "***@", v) for k, v in everything.items() if TOLD.match(k)}
    caches = {}
    for name, default in CACHES.items():
        path = str(Path(told.get(name, default)).expanduser())
        caches[name] = {"path": path, "set": name in told, "file_system": file_system(path), "free_gib": free_gib(path)}
    return {"variables": dict(sorted(told.items())), "caches": caches}


def file_system(path: str) -> str:
    """The kind of file system below `path`: nfs, ext4 ..."""
    mounts = [row.split()[1:3] for row in read("/proc/mounts").splitlines()]
    below = [(len(point), kind) for point, kind in mounts if path == point or path.startswith(point.rstrip("/") + "/")]
    return max(below)[1] if below else ""


def pythons(prefixes: Sequence[str]) -> list[dict[str, Any]]:
    """The Python environments with packages of the lab: those named, the active one, the usual ones."""
    active = [os.environ[name] for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if name in os.environ]
    found = []
    for prefix in dict.fromkeys([*prefixes, *active, "/opt/venv", "/usr/local"]):
        sites = [str(p) for p in sorted(Path(prefix).glob("lib/python3*/*-packages"))]
        if not sites:
            continue
        import importlib.metadata

        dists = importlib.metadata.distributions(path=sites)
        every = {str(d.metadata["Name"]).lower().replace("_", "-"): d.version for d in dists}
        have = {name: version for name, version in every.items() if name in WATCHED}
        if not {"torch", "ms-swift", "vllm"} & have.keys():
            continue
        interpreter = str(Path(prefix) / "bin/python3")
        broken = {}
        for package, module in COMPILED.items():
            if package in have:
                status, _, complaint = said(interpreter, "-c", f"import {module}", seconds=60)
                if status:
                    broken[package] = (complaint.splitlines() or ["it can't be imported"])[-1]
        found.append({"where": prefix, "packages": have, "broken": broken, "conflicts": conflicts(interpreter),
                      "flash_attn_max": flash_attn_max(sites)})  # fmt: skip
    return found


def conflicts(interpreter: str) -> list[str] | None:
    """What the installed packages ask of each other and do not get; None where neither uv nor pip is there to tell."""
    uv = Path(sys.executable).parent / "uv"
    told = said(str(uv), "pip", "check", "--python", interpreter, seconds=60)
    if told[0] == 127:
        told = said(interpreter, "-m", "pip", "check", seconds=60)
        if "No module named pip" in told[2] or told[0] == 127:
            return None
    return [line.strip() for line in "\n".join(told[1:]).splitlines() if re.search(r"requires|has requirement", line)]


def flash_attn_max(sites: list[str]) -> str:
    """The newest flash-attn that the installed TransformerEngine takes, from its own source."""
    for site in sites:
        for source in sorted(Path(site).glob("transformer_engine/pytorch/attention/**/utils.py")):
            named = re.search(r'\bmax_version = PkgVersion\("([\d.]+)"\)', read(source, 10**6))
            if named:
                return named[1]
    return ""


def kernel_settings() -> dict[str, str]:
    """Every sysctl that two equal hosts share."""
    _, out, _ = said("sysctl", "-a", root=True)
    if not out:
        _, out, _ = said("/usr/sbin/sysctl", "-a")
    pairs = (line.split(" = ", 1) for line in out.splitlines() if " = " in line)
    return {name: " ".join(value.split()) for name, value in pairs if not VOLATILE.match(name)}


def packages() -> dict[str, Any]:
    """Every Debian package with its version, and those on hold."""
    _, out, _ = said("dpkg-query", "-W", "-f=${Package}:${Architecture}\t${Version}\t${db:Status-Abbrev}\n")
    rows = [row.split("\t") for row in out.splitlines()]
    return {
        "versions": {n.split(":")[0]: v for n, v, s in rows if s[1] == "i"},
        "held": sorted(n.split(":")[0] for n, _, s in rows if s[0] == "h"),
    }


def faults() -> dict[str, Any]:
    """What the kernel's log says of the GPUs since boot."""
    status, log, complaint = said("journalctl", "--dmesg", "--quiet", "--no-pager", "--output=cat", root=True)
    if status or not log:
        status, log, complaint = said("dmesg", root=True)
    if status:
        raise PermissionError(complaint)
    return {"xid": sorted(set(re.findall(r"Xid \([^)]*\): (\d+)", log)), key=int)}


PARTS: dict[str, Callable[[], Any]] = {
    "system": system, "memory": memory, "gpus": gpus, "containers": containers, "network": network,
    "environment": environment, "kernel_settings": kernel_settings, "packages": packages, "faults": faults,
    "time": time.time,
}  # fmt: skip


def look(parts: list[str], prefixes: Sequence[str] = ()) -> dict[str, Any]:
    """The parts asked for; `pythons` looks at `prefixes`, too."""
    every: dict[str, Callable[[], Any]] = {**PARTS, "pythons": functools.partial(pythons, prefixes)}
    return {name: attempt(every[name]) for name in parts}


def attempt(part: Callable[[], Any]) -> Any:
    """A part, or why it can't be read: one that fails does not cost the others."""
    try:
        return part()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    PLACES |= dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    print(json.dumps(look([word for word in sys.argv[1:] if "=" not in word])))
