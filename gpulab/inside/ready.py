"""Is the server ready? One real chat completion says so: /health is 200 before the first request kills an engine.

Standard library only: the engines import it, and a plan.sh runs it by itself:

    python gpulab/inside/ready.py http://127.0.0.1:8000/v1 MODEL SECONDS
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request

PATIENCE = 15  # seconds for one chat completion

# a server on this machine is never behind a proxy
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def answers(url: str, model: str, timeout: float = PATIENCE) -> bool:
    """Whether the OpenAI-compatible server at `url` (".../v1") completes a chat as `model` within `timeout` seconds."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, "temperature": 0}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), _headers())
    try:
        with _open(request, timeout=timeout) as reply:
            said = json.load(reply)
            return bool(said.get("choices") or said.get("data"))  # a model of vectors has `data`
    except (OSError, ValueError, AttributeError):
        return False


def models(url: str, timeout: float = PATIENCE) -> list[str]:
    """The names that the server has. Raises OSError or ValueError where it does not say."""
    with _open(urllib.request.Request(f"{url}/models", headers=_headers()), timeout=timeout) as reply:
        return [one["id"] for one in json.load(reply)["data"]]


def _headers() -> dict[str, str]:
    key = os.environ.get("GPULAB_API_KEY")
    return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


def main(url: str, model: str, within: str) -> int:
    """Wait until the server answers: 0, or 1 after `within` seconds."""
    deadline = time.monotonic() + float(within)
    while not answers(url, model):
        if time.monotonic() > deadline:
            print(f"{url} did not answer as {model} within {within} s", file=sys.stderr)
            return 1
        time.sleep(0.5)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
