"""Ask a served model every question of a file; answers are written as `swift infer` writes them.

python ../../common/ask.py URL MODEL QUESTIONS.jsonl ANSWERS.jsonl
"""

import json
import sys
from pathlib import Path

from openai import OpenAI


def main(url: str, model: str, questions: str, answers: str) -> None:
    """One request for each question, greedy."""
    client = OpenAI(base_url=url, api_key="EMPTY")
    lines = []
    for line in Path(questions).read_text().splitlines():
        question, wanted = json.loads(line)["messages"]
        reply = client.chat.completions.create(model=model, messages=[question], temperature=0, max_tokens=32)
        said = reply.choices[0].message.content or ""
        lines.append(json.dumps({"response": said, "labels": wanted["content"], "messages": [question]}))
    Path(answers).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
