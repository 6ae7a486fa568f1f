"""`inv notebook`: JupyterLab in a stack, on this machine's loopback wherever it runs."""

from __future__ import annotations

import os
import secrets
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.ports import can_listen, free_port
from gpulab.engines.backend import StepBackend
from gpulab.runs.shell import carry_out, workplace
from gpulab.runs.spec import RunSpec
from gpulab.stacks.stack import Stack, load_stack, load_stacks

HERE, ON_HOSTS = "notebook", "notebook-gpu"
PACKAGE = "jupyterlab"
TOKEN = "JUPYTER_TOKEN"  # noqa: S105 (Jupyter's own name: it stands on no command line)
FIRST_PORT = 8888
TRIES = 50  # ports that are looked at on a host
EACH = 0.3  # seconds between two looks whether it answers


def open_notebook(stack: str, engine: str, hosts: str, limit: str, gpus: int, port: int) -> Outcome:
    """Open it and wait for its end. Raises UsageError before anything is started."""
    name = stack or (ON_HOSTS if hosts else HERE)
    if not has_jupyter(load_stack(name)):
        having = [one.name for one in load_stacks().values() if has_jupyter(one)]
        raise UsageError(f"the stack {name} has no JupyterLab", f"take {' or '.join(having)}, or ./inv shell {name}")
    spec = workplace(name, engine, hosts, limit, gpus)
    at = choose_port(spec, port)
    token = os.environ.setdefault(TOKEN, secrets.token_hex(24))
    with told(f"http://127.0.0.1:{at}", token):
        status = carry_out(spec, jupyter(spec, at), at)
    return Outcome({"stack": name, "engine": spec.engine.name, "port": at, "exit": status}, code=status)


def has_jupyter(stack: Stack) -> bool:
    """Whether JupyterLab is one of its pins."""
    return any(pin.partition("==")[0] == PACKAGE for pin in stack.all_pins)


def jupyter(spec: RunSpec, port: int) -> list[str]:
    """The command. In a container it listens for its network, and the port is published to a loopback alone."""
    return [
        "jupyter", "lab", "--no-browser", "--allow-root", "-y", "--log-level=WARN",
        f"--ServerApp.ip={spec.engine.network.bind}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
    ]  # fmt: skip


def choose_port(spec: RunSpec, asked: int) -> int:
    """A port that is free here, and there where it runs. Raises UsageError where the one asked for is not."""
    assert isinstance(spec.engine, StepBackend)  # noqa: S101 (see workplace)
    if asked:
        if not 0 < asked < 65536:
            raise UsageError(f"--port {asked}: not a port", "a number from 1 to 65535")
        if not can_listen(asked) or (spec.compute_nodes and not spec.engine.is_free(asked)):
            raise UsageError(f"port {asked} is taken", "another --port, or none")
        return asked
    taken: list[int] = []
    while len(taken) < TRIES:
        port = free_port(FIRST_PORT, taken)
        if not spec.compute_nodes or spec.engine.is_free(port):
            return port
        taken.append(port)
    raise UsageError(f"none of {TRIES} ports from {FIRST_PORT} on is free there", "--port N")


@contextmanager
def told(address: str, token: str) -> Iterator[None]:
    """Say where it is as soon as it answers there."""
    over = threading.Event()

    def wait() -> None:
        while not over.wait(EACH):
            if answers(address):
                url = f"{address}/lab?token={token}"
                console.print(f"[bold]JupyterLab[/] is at {url}\nCtrl-C ends it", soft_wrap=True)
                return

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    try:
        yield
    finally:
        over.set()
        waiting.join()


def answers(address: str) -> bool:
    """Whether a Jupyter server answers there; never through a proxy."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    try:
        with ask(f"{address}/api", timeout=5) as reply:
            return b"version" in reply.read()
    except OSError:
        return False
