"""What a good answer is: its form, and whether it is right."""

import re
from typing import Any


def form(said: str) -> float:
    """1 for a text that ends with an answer in its box."""
    return float(bool(re.search(r"\\boxed\{[^{}]+\}\W*$", said)))


def right(said: str, solution: str) -> float:
    """1 where the last box holds the solution; of gsm8k's solutions that is what stands after ####."""
    boxes = re.findall(r"\\boxed\{([^{}]+)\}", said)
    wanted = solution.split("####")[-1].strip()
    return float(bool(boxes) and boxes[-1].replace(",", "").strip() == wanted.replace(",", ""))


def is_right(answer: dict[str, Any]) -> bool:
    """Of a line of `swift infer`."""
    return right(answer["response"], answer["labels"]) > 0
