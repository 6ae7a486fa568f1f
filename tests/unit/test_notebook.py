"""`inv notebook`: which stack, which port, where its token stands, and when its address is told."""

from __future__ import annotations

import http.server
import io
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from rich.console import Console

from gpulab.common.errors import UsageError
from gpulab.hosts.inventory import Host
from gpulab.hosts.ssh import forward
from gpulab.plan.container import run_words
from gpulab.runs import notebook, page
from gpulab.runs.notebook import JUPYTER, jupyter, open_notebook
from gpulab.runs.page import choose_port, told
from gpulab.runs.shell import placed, workplace
from gpulab.runs.spec import RunSpec
from tests.wait import wait_until


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunSpec, list[str], int]]:
    """What would have been started, instead of starting it."""
    calls: list[tuple[RunSpec, list[str], int]] = []
    monkeypatch.setattr(page, "carry_out", lambda *call: calls.append(call) or 3)
    monkeypatch.setenv(notebook.TOKEN, "")  # so that what is set is taken back
    monkeypatch.delenv(notebook.TOKEN)
    return calls


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody has."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def test_it_opens_the_stack_that_has_jupyter_on_loopback_with_a_token_that_no_command_line_shows(started):
    done = open_notebook("", "", "", "", 0, 0)
    ((spec, argv, port),) = started
    assert (done.code, done.data["port"]) == (3, port)
    assert spec.stack.name == "notebook"
    assert f"--ServerApp.port={port}" in argv and "--ServerApp.ip=127.0.0.1" in argv
    assert len(os.environ[notebook.TOKEN]) >= 32
    assert not [word for word in argv if os.environ[notebook.TOKEN] in word]


def test_in_a_container_the_port_is_published_to_loopback_and_the_token_handed_on_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv(notebook.TOKEN, "the-secret")
    spec = workplace("notebook", "docker", "", "", 0)
    plan, command = placed(spec, tmp_path / "shell-notebook" / "1", jupyter(spec, 8890), 8890)
    place = spec.engine._place(plan, command)  # type: ignore[attr-defined]
    words = run_words(command, plan, replace(place, image="image:tag"))
    assert words[words.index("--publish") + 1] == "127.0.0.1:8890:8890"
    assert "--ServerApp.ip=0.0.0.0" in words
    assert words[words.index(notebook.TOKEN) - 1] == "--env"
    assert not [word for word in words if "the-secret" in word]


def test_a_hosts_port_is_forwarded_to_this_machines_loopback():
    words = forward(Host("gpu1", "198.18.0.1", variables={"ansible_user": "lab", "ansible_port": 2222}), 8891)
    assert words[words.index("-L") + 1] == "127.0.0.1:8891:127.0.0.1:8891"
    assert words[-1] == "198.18.0.1" and words[words.index("-p") + 1] == "2222"
    assert words[words.index("-l") + 1] == "lab"


def test_a_taken_port_is_refused_and_without_one_another_is_taken(taken):
    spec = workplace("notebook", "local", "", "", 0)
    assert choose_port(replace(JUPYTER, first_port=taken), spec, 0) > taken
    with pytest.raises(UsageError, match=f"port {taken} is taken"):
        choose_port(JUPYTER, spec, taken)


@pytest.mark.parametrize(("given", "message"), [(("cpu", 0), "cpu has no jupyterlab"), (("", 70000), "not a port")])
def test_what_cannot_be_is_refused_before_anything_is_started(started, given, message):
    stack, port = given
    with pytest.raises(UsageError, match=message) as refused:
        open_notebook(stack, "", "", "", 0, port)
    assert refused.value.cure
    assert started == []


class Jupyter(http.server.BaseHTTPRequestHandler):
    """What answers at /api as Jupyter does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "2"}')

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_its_address_is_told_when_it_answers_and_not_before(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(page, "console", Console(file=said))
    with http.server.HTTPServer(("127.0.0.1", 0), Jupyter) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        with told(JUPYTER, server.server_port, "/lab?token=abc"):  # connections wait until it serves
            assert said.getvalue() == ""
            threading.Thread(target=server.serve_forever, daemon=True).start()
            wait_until(lambda: f"{address}/lab?token=abc" in said.getvalue(), "the address is told", 20)
        server.shutdown()
