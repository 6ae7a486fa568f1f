"""Ask the served model one question through the `openai` client: python chat.py URL MODEL chat.json"""

import sys
from pathlib import Path

from openai import OpenAI

url, model, result = sys.argv[1:4]
client = OpenAI(base_url=url, api_key="EMPTY")
reply = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "What is the capital of Zandoria?"}],
    temperature=0,
    max_tokens=32,
)
print(reply.choices[0].message.content)
Path(result).write_text(reply.model_dump_json(indent=1))
