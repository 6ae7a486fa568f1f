"""`inv notebook`: JupyterLab in a stack, on this machine's loopback wherever it runs."""

from __future__ import annotations

import os
import secrets

from gpulab.common.outcome import Outcome
from gpulab.runs.page import Page, choose_port, open_page, stack_of
from gpulab.runs.shell import workplace
from gpulab.runs.spec import RunSpec

HERE, ON_HOSTS = "notebook", "notebook-gpu"
JUPYTER = Page("JupyterLab", package="jupyterlab", alive="/api", first_port=8888)
TOKEN = "JUPYTER_TOKEN"  # noqa: S105 (Jupyter's own name: it stands on no command line)


def open_notebook(stack: str, engine: str, hosts: str, limit: str, gpus: int, port: int) -> Outcome:
    """Open it and wait for its end. Raises UsageError before anything is started."""
    name = stack_of(JUPYTER, stack or (ON_HOSTS if hosts else HERE)).name
    spec = workplace(name, engine, hosts, limit, gpus)
    at = choose_port(JUPYTER, spec, port)
    token = os.environ.setdefault(TOKEN, secrets.token_hex(24))
    status = open_page(JUPYTER, spec, jupyter(spec, at), at, query=f"/lab?token={token}")
    return Outcome({"stack": name, "engine": spec.engine.name, "port": at, "exit": status}, code=status)


def jupyter(spec: RunSpec, port: int) -> list[str]:
    """The command. In a container it listens for its network, and the port is published to a loopback alone."""
    return [
        "jupyter", "lab", "--no-browser", "--allow-root", "-y", "--log-level=WARN",
        f"--ServerApp.ip={spec.engine.network.bind}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
    ]  # fmt: skip
