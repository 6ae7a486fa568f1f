"""Numbers that a user gives: refused where nothing can be done with them."""

from __future__ import annotations

import math
import re

from gpulab.common.errors import UsageError


def positive(flag: str, value: float, most: float) -> None:
    """Raise UsageError where `value` is negative, not a number or above `most`; 0 stands for not given."""
    if not (math.isfinite(value) and 0 <= value <= most):
        raise UsageError(f"{flag} {value:g}: not a positive number up to {most:g}", f"for example {flag} 8")


def whole(word: str) -> int | None:
    """The whole number that a word is, in ASCII digits; None where it is none."""
    return int(word) if re.fullmatch(r"-?[0-9]{1,18}", word) else None
