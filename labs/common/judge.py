"""Judge answers of `swift infer`: a line for each, with "right" or "wrong" in the place of what was said.

python judge.py --by RULES.py --answers INFER_RESULT.jsonl --result RESULT.jsonl

RULES.py has `is_right(answer)`, which gets a line of the answers.
"""

import argparse
import json
import runpy
from pathlib import Path


def main() -> None:
    """A line for each answer."""
    parser = argparse.ArgumentParser()
    for name in ("by", "answers", "result"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    is_right = runpy.run_path(asked.by)["is_right"]
    judged = []
    for line in Path(asked.answers).read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)
        verdict = "right" if is_right(answer) else "wrong"
        question = [message for message in answer["messages"] if message["role"] == "user"]
        judged.append(json.dumps({"response": verdict, "labels": "right", "messages": question}))
    Path(asked.result).write_text("\n".join(judged) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
