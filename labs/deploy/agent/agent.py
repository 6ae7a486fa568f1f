"""A model that calls a tool, its client which carries the call out, and the answer that comes of it.

python agent.py URL MODEL CALLS.jsonl ANSWERS.jsonl

A row of CALLS.jsonl is a conversation with a tool, as ms-swift trains it. Its question is asked, the call that the
server reads out of the answer is carried out with what the row says, and the model is asked again.
"""

import json
import sys
from pathlib import Path

from openai import OpenAI


def shown(name: str, arguments: dict) -> str:
    """A call without its values: which they are is the model's task, to be read as a call is the server's."""
    return f"{name}({', '.join(sorted(arguments))})"


def main(url: str, model: str, calls: str, answers: str) -> None:
    """For each row a line: the call and the answer, as they were and as they should be."""
    client = OpenAI(base_url=url, api_key="EMPTY")
    lines = []
    for line in Path(calls).read_text().splitlines():
        row = json.loads(line)
        user, call, told, last = row["messages"]
        asked = {"model": model, "tools": json.loads(row["tools"]), "temperature": 0, "max_tokens": 64}
        first = client.chat.completions.create(messages=[user], **asked).choices[0].message
        made = first.tool_calls[0].function if first.tool_calls else None
        said = "no call"
        if made:
            chat = [user, {"role": "assistant", "content": first.content}, {"role": "tool", "content": told["content"]}]
            said = client.chat.completions.create(messages=chat, **asked).choices[0].message.content
        wanted = json.loads(call["content"])
        lines.append(
            {
                "response": shown(made.name, json.loads(made.arguments)) if made else "no call",
                "labels": shown(wanted["name"], wanted["arguments"]),
                "messages": [user],
                "arguments": made and made.arguments,
                "answer": said,
                "right_answer": last["content"],
            }
        )
    Path(answers).write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
