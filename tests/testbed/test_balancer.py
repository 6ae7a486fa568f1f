"""nginx itself with the configuration that `inv serve --replicas` gives it: a server that is gone costs no answer."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from gpulab.inside import ready
from gpulab.plan.balancer import configuration
from tests.openai_server import serving
from tests.testbed.nginx import program
from tests.wait import wait_until


@contextmanager
def starting() -> Iterator[str]:
    """The port of a container whose server is not up yet: it takes connections and drops them."""
    with socket.create_server(("127.0.0.1", 0)) as port:

        def drop() -> None:
            while True:
                try:
                    connection = port.accept()[0]
                except OSError:  # the test is over
                    return
                connection.recv(1)
                connection.close()

        Thread(target=drop, daemon=True).start()
        yield f"127.0.0.1:{port.getsockname()[1]}"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(servers: list[str], folder: Path) -> Iterator[str]:
    """The address of nginx in front of servers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf = folder / "nginx.conf"
    pid = f"pid {folder}/nginx.pid"
    conf.write_text(configuration(f"127.0.0.1:{port}", servers).replace("pid /tmp/nginx.pid", pid))
    process = subprocess.Popen([program(), "-e", "stderr", "-c", conf, "-g", "daemon off;"])
    try:
        wait_until(lambda: listens(port), "nginx listens")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def test_a_server_that_is_gone_or_not_up_yet_costs_no_answer(tmp_path: Path) -> None:
    asked: list[object] = []
    with starting() as drops, socket.socket() as nobody, serving(lambda body: asked.append(body) or "Melvik") as url:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        servers = [drops, f"127.0.0.1:{nobody.getsockname()[1]}", urlsplit(url).netloc]
        with nginx(servers, tmp_path) as front:
            assert [ready.answers(front, "tiny") for _ in range(4)] == [True] * 4
    assert len(asked) == 4


def test_both_servers_get_requests(tmp_path: Path) -> None:
    told: list[str] = []

    def says(name: str) -> str:
        told.append(name)
        return name

    with (
        serving(lambda _: says("one")) as one,
        serving(lambda _: says("two")) as two,
        nginx([urlsplit(url).netloc for url in (one, two)], tmp_path) as front,
    ):
        assert [ready.answers(front, "tiny") for _ in range(4)] == [True] * 4
    assert set(told) == {"one", "two"}
