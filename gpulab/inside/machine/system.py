"""The distribution and its packages, the kernel and its settings, memory and its limits."""

from __future__ import annotations

import os
import platform
import re
import resource
from pathlib import Path
from typing import Any

from gpulab.inside.machine.reading import read, said

SHM = "/dev/shm"  # noqa: S108 (looked at, nothing is put there)
# Counters and identities: two equal hosts differ in them.
VOLATILE = re.compile(
    r"^(kernel\.(random|ns_last_pid|hostname|domainname|pty\.nr|tainted|sched_domain|bootloader|keys|usermodehelper)"
    r"|fs\.(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota|binfmt_misc|mqueue)|dev\."
    r"|net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.(?!all|default)|net\.netfilter\.nf_conntrack_count|net\.ipv4\.route"
    r"|vm\.(stat_refresh|compact_memory|drop_caches)|.*\.nf_log\b|user\.)"
)


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
