"""The site served on this machine alone, until Ctrl-C."""

from __future__ import annotations

import contextlib
import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gpulab.common.console import console
from gpulab.common.ports import free_port


class Handler(SimpleHTTPRequestHandler):
    """Files, without a line for each request."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def server(folder: Path) -> ThreadingHTTPServer:
    """A server of a folder, on a free port of the loopback address."""
    return ThreadingHTTPServer(("127.0.0.1", free_port()), functools.partial(Handler, directory=str(folder)))


def serve_folder(folder: Path) -> None:
    """Serve it until Ctrl-C."""
    with server(folder) as serving:
        console.print(f"http://127.0.0.1:{serving.server_port}/ until Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):  # it is the serving that ends
            serving.serve_forever()
