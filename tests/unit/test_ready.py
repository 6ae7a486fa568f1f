"""A server is ready when it has answered a chat: with text, with a number, or, a model of vectors, with a vector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from gpulab.inside.ready import answers


@pytest.fixture
def server() -> Iterator[Any]:
    """server(what): the URL of an API that answers every chat with that, and the status."""
    made: list[ThreadingHTTPServer] = []

    def begin(said: object, status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(said).encode())

            def log_message(self, *words: object) -> None:
                """Nothing is logged."""

        made.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=made[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{made[-1].server_port}/v1"

    yield begin
    for one in made:
        one.shutdown()
        one.server_close()


@pytest.mark.parametrize("said", [{"choices": [{"message": {"content": "Hi"}}]}, {"data": [{"embedding": [0.1]}]}])
def test_a_server_that_answered_is_ready(server: Any, said: object) -> None:
    assert answers(server(said), "m", timeout=5)


@pytest.mark.parametrize(
    ("said", "status"), [({"choices": []}, 200), ({"object": "error"}, 200), ([], 200), ({"choices": [1]}, 400)]
)
def test_a_server_that_said_nothing_of_use_is_not(server: Any, said: object, status: int) -> None:
    assert not answers(server(said, status), "m", timeout=5)
