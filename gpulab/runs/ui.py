"""`inv ui`: ms-swift's own pages in the browser: one to train and more by mouse, one to chat with what is served."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.processes import MARK, belonging, stop
from gpulab.engines.interrupts import ignored
from gpulab.engines.local import LocalBackend
from gpulab.plan.machine import this_machine
from gpulab.plan.plan import TOOLS
from gpulab.plan.service_file import KEY
from gpulab.runs.endpoint import Endpoint, NotServed, reached
from gpulab.runs.page import Page, choose_port, open_page, stack_of
from gpulab.runs.shell import workplace
from gpulab.runs.spec import RunSpec

STACK, ON_CPU = "ui", "ui-cpu"
WEB_UI = Page("ms-swift's page", package="gradio", alive="/config", first_port=7860)
PAGES = ("python", str(TOOLS / "pages.py"))
LANGUAGES = ("en", "zh")


def open_ui(
    chat: str, stack: str, engine: str, hosts: str, limit: str, gpus: int, port: int, lang: str
) -> Outcome:  # fmt: skip
    """Open the page and wait for its end. Raises UsageError before anything is started."""
    if lang not in LANGUAGES:
        raise UsageError(f"--lang {lang}: no language of ms-swift's pages", " or ".join(LANGUAGES))
    name = stack_of(WEB_UI, stack or (STACK if hosts or this_machine().gpus else ON_CPU)).name
    spec = workplace(name, engine, hosts, limit, gpus)
    at = choose_port(WEB_UI, spec, port)
    data = {"stack": name, "engine": spec.engine.name, "port": at}
    if not chat:
        with ended_with_it(spec):
            status = open_page(WEB_UI, spec, web_ui(spec, at, lang), at)
        return Outcome({**data, "exit": status}, code=status)
    if not isinstance(spec.engine, LocalBackend):
        raise UsageError("a chat's page runs on this machine, beside the server", "leave --hosts and --engine out")
    if os.environ.get(KEY):
        raise UsageError(f"ms-swift's chat page sends no key, and {KEY} is set", f"unset {KEY}; serve without --public")
    try:
        with reached(chat) as endpoint:
            status = open_page(WEB_UI, spec, app(endpoint, at, lang), at)
    except NotServed as error:
        return error.outcome
    return Outcome({**data, "asks": endpoint.url, "as": endpoint.model, "exit": status}, code=status)


def web_ui(spec: RunSpec, port: int, lang: str) -> list[str]:
    """The command. In a container it listens for its network, and the port is published to a loopback alone."""
    return [*PAGES, "web-ui", *_at(spec.engine.network.bind, port, lang)]


def app(endpoint: Endpoint, port: int, lang: str) -> list[str]:
    """The command of a chat with what is served already. It loads no model: `--model` is as whom it asks."""
    asked = ["--model", endpoint.model, "--base_url", endpoint.url]
    return [*PAGES, "app", *asked, *_at("127.0.0.1", port, lang)]


def _at(address: str, port: int, lang: str) -> list[str]:
    return ["--server_name", address, "--server_port", str(port), "--lang", lang]


@contextmanager
def ended_with_it(spec: RunSpec) -> Iterator[None]:
    """What the page has started ends with it: ms-swift's page gives each training a session of its own.

    In a container it ends anyway.
    """
    if not isinstance(spec.engine, LocalBackend):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="gpulab-ui-") as mark:
        before = os.environ.get(MARK)
        os.environ[MARK] = mark
        try:
            yield
        finally:
            with ignored():
                os.environ.pop(MARK) if before is None else os.environ.update({MARK: before})
                stop(belonging(Path(mark)))
