"""Judge answers of `swift infer`: a line for each, with "right" or "wrong" in the place of what was said.

python judge.py --answers INFER_RESULT.jsonl --result RESULT.jsonl
"""

import argparse
import json
from pathlib import Path

from rules import right


def main() -> None:
    """A line for each answer."""
    parser = argparse.ArgumentParser()
    for name in ("answers", "result"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    judged = []
    for line in Path(asked.answers).read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)
        verdict = "right" if right(answer["response"], answer["labels"]) else "wrong"
        question = [message for message in answer["messages"] if message["role"] == "user"]
        judged.append(json.dumps({"response": verdict, "labels": "right", "messages": question}))
    Path(asked.result).write_text("\n".join(judged) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
