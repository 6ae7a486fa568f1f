"""GPUs: on the bus, as the driver tells, and what the kernel's log says of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gpulab.inside.machine.reading import PLACES, read, said

NVIDIA = "0x10de"
GPU_CLASSES = ("0x0300", "0x0302")  # display and 3D controllers


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


def faults() -> dict[str, Any]:
    """What the kernel's log says of the GPUs since boot."""
    status, log, complaint = said("journalctl", "--dmesg", "--quiet", "--no-pager", "--output=cat", root=True)
    if status or not log:
        status, log, complaint = said("dmesg", root=True)
    if status:
        raise PermissionError(complaint)
    return {"xid": sorted(set(re.findall(r"Xid \([^)]*\): (\d+)", log)), key=int)}
