"""This machine's GPUs through nvitop (NVML)."""

from __future__ import annotations

import logging
from typing import Any


def devices() -> list[Any]:
    """nvitop's devices; none where there is no NVIDIA driver, and no word about that on the terminal."""
    from nvitop import Device
    from nvitop.api import libnvml

    libnvml.LOGGER.setLevel(logging.CRITICAL + 1)
    return list(Device.all())
