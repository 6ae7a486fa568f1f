"""Which ports a server can have."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from gpulab.common.ports import can_listen, free_port, hold, is_free


@pytest.fixture
def listener() -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def any_port() -> int:
    """One that no test beside this one counts its way to."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def test_a_port_that_somebody_listens_on_is_not_free(listener: socket.socket) -> None:
    with listener:
        port = listener.getsockname()[1]
        assert not is_free(port) and not can_listen(port)
        assert free_port(port) > port


def test_a_port_with_an_ended_servers_connection_is_one_that_ms_swift_would_move_away_from(
    listener: socket.socket,
) -> None:
    """Two labs one after the other: the second one's server answered on another port than it was asked on."""
    port = listener.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    served, _ = listener.accept()
    served.close()  # the server closes first: the connection is left in TIME_WAIT on its port
    client.recv(1)
    client.close()
    listener.close()
    assert can_listen(port)
    assert not is_free(port)
    assert free_port(port) != port


def test_a_port_is_held_for_a_server_that_does_not_listen_yet() -> None:
    """Two labs at once: each server imports for seconds before it listens, and they would choose the same port."""
    port = any_port()
    ask = [sys.executable, "-c", f"from gpulab.common.ports import hold; raise SystemExit(not hold({port}))"]
    held = hold(port)
    assert held
    with held:
        assert is_free(port)
        assert subprocess.run(ask, check=False).returncode == 1
    assert subprocess.run(ask, check=False).returncode == 0


def test_a_port_that_somebody_listens_on_is_not_held(listener: socket.socket) -> None:
    with listener:
        assert hold(listener.getsockname()[1]) is None
    held = hold(any_port())
    assert held
    held.close()
