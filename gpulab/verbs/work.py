"""The verbs that open a place to work in."""

from __future__ import annotations

import sys
from typing import Any

from gpulab.common.outcome import Outcome
from gpulab.verbs.command_line import behind
from gpulab.verbs.options import HOSTS, LIMIT, Option, first, number
from gpulab.verbs.verb import verb

PORT = number("port", "the port, on this machine's loopback; usual is the first free one from 8888 on")
PAGE = PORT.called("the port, on this machine's loopback; usual is the first free one from 7860 on")
STACK = first("stack", "the stack that is opened: cpu, train")
ENGINE = Option("engine", "local (the stack's venv) or docker (its image; usual on hosts)")
ON_HOST = HOSTS.called("in a container on a host of this inventory: gpus.ini")
GPUS = number("gpus", "so many GPUs; usual is all that are there")


@verb(STACK, ENGINE, ON_HOST, LIMIT, GPUS)
def shell(**options: Any) -> Outcome:
    """Open a stack: a shell in it, or one command behind `--`.

    inv shell cpu -- python -c 'import swift'. Its exit status is that of the command.
    """
    from gpulab.runs.shell import open_shell

    return open_shell(command=behind(sys.argv), **options)


@verb(
    Option("stack", "notebook, or one that is from it; usual on hosts is notebook-gpu", by_place=True),
    ENGINE, ON_HOST, LIMIT, GPUS, PORT,
)  # fmt: skip
def notebook(**options: Any) -> Outcome:
    """Open JupyterLab in a stack, on this machine's loopback.

    Its address, with the token, is shown when it answers; Ctrl-C ends it.
    """
    from gpulab.runs.notebook import open_notebook

    return open_notebook(**options)


@verb(
    Option("chat", "a chat instead, with a name of inv served, an address, or a run (served for so long)"),
    Option("stack", "usual is ui, where no GPU is ui-cpu"),
    ENGINE, ON_HOST, LIMIT, GPUS, PAGE,
    Option("lang", "en or zh", default="en"),
)  # fmt: skip
def ui(**options: Any) -> Outcome:
    """Open ms-swift's page: train, infer, export by mouse.

    Its address is shown when it answers; Ctrl-C ends it, and what it has started.
    """
    from gpulab.runs.ui import open_ui

    return open_ui(**options)


@verb(
    first("plugin", "what labs/extend registers: stops_at_loss", to="name"),
    Option("source", "a clone of ms-swift, which gets the branch; its own folder stays as it is"),
    Option("to", "without a clone: a new folder that gets a repository of the installed ms-swift"),
    Option("branch", "its name; usual is add-stops-at-loss"),
)
def pr_draft(**options: Any) -> Outcome:
    """Draft a pull request to ms-swift of a plugin.

    A branch with the change, its test and documentation, which passes ms-swift's own checks. Nothing is pushed.
    """
    from gpulab.runs.pull_request.draft import draft

    return draft(**options)
