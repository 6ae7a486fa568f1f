"""How a lab is run: as written on GPUs, or rehearsed on the CPU."""

from typing import Literal

Profile = Literal["gpu", "cpu"]
