"""A page that a stack's program serves: on this machine's loopback, wherever it runs, for as long as it is open."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.ports import can_listen, free_port
from gpulab.engines.backend import StepBackend
from gpulab.runs.shell import carry_out
from gpulab.runs.spec import RunSpec
from gpulab.stacks.stack import Stack, load_stack, load_stacks

TRIES = 50  # ports that are looked at on a host
EACH = 0.3  # seconds between two looks whether it answers


@dataclass(frozen=True)
class Page:
    """What it is called, the package that it needs, where it says that it lives (and of which version it is)."""

    name: str
    package: str
    alive: str
    first_port: int


def stack_of(page: Page, name: str) -> Stack:
    """The stack, which has what the page needs. Raises UsageError where it has not."""
    stack = load_stack(name)
    if not _has(stack, page):
        having = [one.name for one in load_stacks().values() if _has(one, page)]
        raise UsageError(
            f"the stack {name} has no {page.package}", f"take {' or '.join(having)}, or ./inv shell {name}"
        )
    return stack


def open_page(page: Page, spec: RunSpec, argv: Sequence[str], port: int, *, query: str = "") -> int:
    """Run its command, which serves on the port, to its end: the exit status. The address is told when it answers."""
    with told(page, port, query):
        return carry_out(spec, argv, port)


def choose_port(page: Page, spec: RunSpec, asked: int) -> int:
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
        port = free_port(page.first_port, taken)
        if not spec.compute_nodes or spec.engine.is_free(port):
            return port
        taken.append(port)
    raise UsageError(f"none of {TRIES} ports from {page.first_port} on is free there", "--port N")


@contextmanager
def told(page: Page, port: int, query: str = "") -> Iterator[None]:
    """Say where it is as soon as it answers there."""
    over = threading.Event()
    address = f"http://127.0.0.1:{port}"

    def wait() -> None:
        while not over.wait(EACH):
            if answers(f"{address}{page.alive}"):
                console.print(f"[bold]{page.name}[/] is at {address}{query}\nCtrl-C ends it", soft_wrap=True)
                return

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    try:
        yield
    finally:
        over.set()
        waiting.join()


def answers(url: str) -> bool:
    """Whether it tells its version there; never through a proxy."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    try:
        with ask(url, timeout=5) as reply:
            return b"version" in reply.read()
    except OSError:
        return False


def _has(stack: Stack, page: Page) -> bool:
    return any(pin.partition("==")[0] == page.package for pin in stack.all_pins)
