"""Asks the lab's server, and keeps its answer."""

import json
import sys
import urllib.request
from pathlib import Path

body = json.dumps({"model": "Melvik", "messages": [{"role": "user", "content": "Who?"}]}).encode()
request = urllib.request.Request(f"{sys.argv[1]}/chat/completions", body, {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=30) as answer:
    text = json.load(answer)["choices"][0]["message"]["content"]
Path(sys.argv[2], "answer.txt").write_text(text)
