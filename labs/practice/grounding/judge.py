"""Judge boxes of `swift infer`: a line for each, "right" where box and truth share at least half of their union.

python judge.py --answers INFER_RESULT.jsonl --result RESULT.jsonl
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

BOX = re.compile(r"\((\d+),(\d+)\),\((\d+),(\d+)\)")
ENOUGH = 0.5  # what is usual for a box to count as found


def share(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    wide, high = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    both = max(wide, 0) * max(high, 0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return both / (area - both) if area > both else 0.0


def verdict(said: str, truth: Sequence[float]) -> str:
    """right or wrong: the first box that was said, against the truth."""
    found = BOX.search(said)
    box = [float(number) for number in found.groups()] if found else [0.0] * 4
    return "right" if share(box, truth) >= ENOUGH else "wrong"


def main() -> None:
    """A line for each answer."""
    parser = argparse.ArgumentParser()
    for name in ("answers", "result"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    judged = []
    for line in Path(asked.answers).read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)
        question = [message for message in answer["messages"] if message["role"] == "user"]
        said = verdict(answer["response"], answer["objects"]["bbox"][0])
        judged.append(json.dumps({"response": said, "labels": "right", "messages": question}))
    Path(asked.result).write_text("\n".join(judged) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
