"""A stand-in for a served model: answers as it is told, fails as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = Callable[[dict[str, Any]], "str | int"]


@contextmanager
def serving(answer: Answer, models: tuple[str, ...] = ("tiny",), key: str = "") -> Iterator[str]:
    """Its address. `answer`: of a request's body the text, or the number of an error, 0 for a broken connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.told(200, {"data": [{"id": name} for name in models]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if key and self.headers.get("Authorization") != f"Bearer {key}":
                self.told(401, {"error": {"message": "no key"}})
            elif (said := answer(asked)) == 0:
                self.connection.close()
            elif isinstance(said, int):
                self.told(said, {"error": {"message": "boom"}})
            else:
                self.said(asked, said)

        def said(self, asked: dict[str, Any], said: str) -> None:
            usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
            about = {"id": "1", "created": 1, "model": asked["model"], "usage": usage}
            if not asked.get("stream"):
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
                self.told(200, {**about, "object": "chat.completion", "choices": [choice]})
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for reason, text in ((None, said), ("stop", "")):
                choice = {"index": 0, "finish_reason": reason, "delta": {"content": text}}
                chunk = {**about, "object": "chat.completion.chunk", "choices": [choice]}
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def told(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
