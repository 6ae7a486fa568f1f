"""This machine's GPUs through nvitop (NVML)."""

from __future__ import annotations

import ctypes
import logging
from typing import Any

NVML = "libnvidia-ml.so.1"  # the driver's own library, as NVML's bindings load it


def devices() -> list[Any]:
    """nvitop's devices; none where there is no NVIDIA driver, and no word about that on the terminal."""
    try:
        ctypes.CDLL(NVML)
    except OSError:
        return []  # to import nvitop takes a third of a dry run
    from nvitop import Device
    from nvitop.api import libnvml

    libnvml.LOGGER.setLevel(logging.CRITICAL + 1)
    return list(Device.all())
