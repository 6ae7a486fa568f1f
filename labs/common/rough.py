"""Clients that behave badly, one after another and many at once: each gets an answer, and the server goes on.

python ../../common/rough.py --url URL --model MODEL --crowd 1000 --result rough.json
"""

import argparse
import http.client
import json
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE = 600  # seconds: a crowd waits for its turn


def main() -> None:
    """One file: what each rough request was answered with, and the same question before and after them."""
    parser = argparse.ArgumentParser()
    for name in ("url", "model", "crowd", "result"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    address = urlsplit(given.url)

    def chat(text: str, **more: object) -> bytes:
        settings = {"model": given.model, "max_tokens": 8, "temperature": 0, **more}
        return json.dumps({**settings, "messages": [{"role": "user", "content": text}]}).encode()

    def ask(body: bytes) -> tuple[int, bytes]:
        client = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
        try:
            client.request("POST", f"{address.path}/chat/completions", body, {"Content-Type": "application/json"})
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def answered(text: str) -> str:
        status, body = ask(chat(text))
        return json.loads(body)["choices"][0]["message"]["content"] if status == 200 else f"status {status}"

    def leave(text: str) -> str:
        """Ask for a stream, and go as soon as it begins."""
        body = chat(text, stream=True, max_tokens=200)
        head = f"POST {address.path}/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as client:
            client.sendall(head.encode() + body)
            return client.recv(64).decode().splitlines()[0]

    def one_of_many(_: int) -> str:
        try:
            return str(ask(chat("Hello", max_tokens=1))[0])
        except OSError as error:
            return type(error).__name__

    whole = chat("Hello")
    refused = {  # each is the client's mistake: a status from 400 to 499
        "a prompt of 1 MB": chat("a b " * 262144),
        "half a JSON": whole[: len(whole) // 2],
        "invalid UTF-8": whole.replace(b"Hello", b"\xff\xfe"),
        "half a character": whole.replace(b"Hello", b"\\ud800"),
        "an unknown model": chat("Hello", model="nobody"),
        "a negative length": chat("Hello", max_tokens=-1),
        "no message": whole.replace(whole[whole.index(b"[") :], b"[]}"),
    }
    before = answered("Hello")
    told = {}
    for name, body in refused.items():
        begun = time.monotonic()
        told[name] = {"status": ask(body)[0], "seconds": round(time.monotonic() - begun, 2)}
    taken = {"null bytes": ask(chat("a\0b"))[0]}
    left = [leave("Hello") for _ in range(4)]
    with ThreadPoolExecutor(max(1, int(given.crowd))) as pool:
        begun = time.monotonic()
        crowd = Counter(pool.map(one_of_many, range(int(given.crowd))))
        seconds = round(time.monotonic() - begun, 2)
    result = {
        "before": before, "refused": told, "taken": taken, "left": left,
        "crowd": dict(crowd), "crowd seconds": seconds, "after": answered("Hello"),
    }  # fmt: skip
    Path(given.result).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
