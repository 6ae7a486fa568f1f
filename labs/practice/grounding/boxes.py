"""Which boxes are right: the first that was said and the true one share at least half of their union."""

import re
from collections.abc import Sequence
from typing import Any

BOX = re.compile(r"\((\d+),(\d+)\),\((\d+),(\d+)\)")
ENOUGH = 0.5  # what is usual for a box to count as found


def share(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    wide, high = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    both = max(wide, 0) * max(high, 0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return both / (area - both) if area > both else 0.0


def is_right(answer: dict[str, Any]) -> bool:
    """Of a line of `swift infer`."""
    found = BOX.search(answer["response"])
    box = [float(number) for number in found.groups()] if found else [0.0] * 4
    return share(box, answer["objects"]["bbox"][0]) >= ENOUGH
