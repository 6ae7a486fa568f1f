"""Judge a step where its files are: weights are compared on the host that trained them, not copied to be looked at.

`python -m gpulab.checks < QUESTION` prints the judgement; both are JSON. It runs in a stack's image, so it needs only
what every stack has.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from gpulab.checks.verdict import Question, judge


def main() -> None:
    """Read the question, print the judgement."""
    print(json.dumps(asdict(judge(Question.from_json(sys.stdin.read())))))


if __name__ == "__main__":
    main()
