#!/usr/bin/python
"""What a host has that matters to a GPU lab, read from /sys and /proc: needs no driver and changes nothing."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: lab_facts
short_description: NVIDIA GPUs on the PCI bus, the loaded driver and the RDMA devices of a host
description:
  - Read only, so it works in check mode, before any driver is there.
options:
  pci:
    description: The kernel's list of PCI devices.
    type: path
    default: /sys/bus/pci/devices
  driver:
    description: The file in which the loaded kernel module states its version.
    type: path
    default: /sys/module/nvidia/version
  rdma:
    description: The kernel's list of RDMA devices.
    type: path
    default: /sys/class/infiniband
  symbols:
    description: The kernel's symbols.
    type: path
    default: /proc/kallsyms
  disk:
    description: The folder whose free space is told.
    type: path
    default: /
author:
  - The GPU lab
"""

EXAMPLES = """
- name: Ensure the GPUs are known
  lab_facts:
"""

RETURN = """
ansible_facts:
  description: >-
    lab_gpus (address, device, open_modules), lab_nvswitches (how many), lab_driver_loaded (empty where none is),
    lab_rdma (names), lab_peer_memory (whether the kernel takes nvidia-peermem), lab_kernel_packages (those that follow
    the distribution's newest kernel), lab_secure_boot, lab_disk_free_gib, lab_epoch (seconds).
  returned: always
  type: dict
"""

NVIDIA = "0x10de"
# Display controllers and 3D controllers; the audio functions of the same card have other classes.
GPU_CLASSES = ("0x0300", "0x0302")
NVSWITCH_CLASS = "0x0680"
# NVIDIA's open kernel modules serve Turing and later, whose device ids start here.
FIRST_TURING = 0x1E00


def read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def nvidia_devices(pci: Path, classes: str | tuple[str, ...]) -> list[Path]:
    devices = (device for device in sorted(pci.glob("*")) if read(device / "vendor") == NVIDIA)
    return [device for device in devices if read(device / "class").startswith(classes)]


def gpu(device: Path) -> dict[str, object]:
    number = read(device / "device")
    return {"address": device.name, "device": number, "open_modules": int(number or "0", 16) >= FIRST_TURING}


def secure_boot() -> bool:
    """The firmware's variable: four bytes of attributes, then 1 where only signed modules are loaded."""
    for variable in Path("/sys/firmware/efi/efivars").glob("SecureBoot-*"):
        return variable.read_bytes()[4:5] == b"\x01"
    return False


def peer_memory(symbols: Path) -> bool:
    """Only an RDMA stack with this symbol loads nvidia-peermem; others share GPU memory by DMA-BUF."""
    return re.search(r" ib_register_peer_memory_client\b", read(symbols)) is not None


def kernel_packages(module: AnsibleModule) -> list[str]:
    """linux-image-amd64, linux-image-generic ...: without a version in the name they follow the newest kernel."""
    _, listed, _ = module.run_command(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", "linux-image-*"])
    return sorted(re.findall(r"^installed (linux-image-(?!\d|unsigned-|extra-)\S+)$", listed, re.MULTILINE))


def existing(path: Path) -> Path:
    """The nearest folder that is there: /var/lib/docker is not, on a fresh host."""
    return path if path.exists() else existing(path.parent)


def main() -> None:
    module = AnsibleModule(
        {
            "pci": {"type": "path", "default": "/sys/bus/pci/devices"},
            "driver": {"type": "path", "default": "/sys/module/nvidia/version"},
            "rdma": {"type": "path", "default": "/sys/class/infiniband"},
            "symbols": {"type": "path", "default": "/proc/kallsyms"},
            "disk": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    pci = Path(module.params["pci"])
    facts = {
        "lab_gpus": [gpu(device) for device in nvidia_devices(pci, GPU_CLASSES)],
        "lab_nvswitches": len(nvidia_devices(pci, NVSWITCH_CLASS)),
        "lab_driver_loaded": read(Path(module.params["driver"])),
        "lab_rdma": sorted(p.name for p in Path(module.params["rdma"]).glob("*")),
        "lab_peer_memory": peer_memory(Path(module.params["symbols"])),
        "lab_kernel_packages": kernel_packages(module),
        "lab_secure_boot": secure_boot(),
        "lab_disk_free_gib": shutil.disk_usage(existing(Path(module.params["disk"]))).free // 2**30,
        "lab_epoch": time.time(),
    }
    module.exit_json(changed=False, ansible_facts=facts)


if __name__ == "__main__":
    main()
