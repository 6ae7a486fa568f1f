"""What makes a Python function a verb: `--json`, `--debug`, exit codes 0/1/2, errors in one or two lines."""

from __future__ import annotations

import errno
import functools
import inspect
import json
import shutil
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable
from typing import Any

from invoke.exceptions import Exit
from invoke.tasks import Task, task

from gpulab.common import redact
from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure
from gpulab.common.outcome import Outcome
from gpulab.verbs.help_page import WIDEST
from gpulab.verbs.options import Option, flag

COMMON = (flag("json", "print one JSON object on standard output"), flag("debug", "show tracebacks"))

UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)


def verb(*options: Option) -> Callable[[Callable[..., Outcome]], Task[Any]]:
    """Make an invoke task of a function that takes its options' values by name and returns an Outcome.

    No short flags: `--hosts` would become `-h`.
    """
    every = [*options, *COMMON]

    def decorate(body: Callable[..., Outcome]) -> Task[Any]:
        @functools.wraps(body)
        def run(_context: Any, **values: Any) -> None:
            as_json, debug = values.pop("json"), values.pop("debug")
            given = {option.to or option.name: values[option.name] for option in options}

            def checked() -> Outcome:
                if values.get("limit") and not values.get("hosts", True):
                    cure = "--hosts gpus.ini beside it, or leave --limit out"
                    raise UsageError(f"--limit {values['limit']}: it chooses hosts of an inventory", cure)
                return body(**given)

            if values.get("hosts"):  # it takes as long as to import what the verb needs
                from gpulab.hosts.inventory import begin

                begin(values["hosts"])
            code = carry_out(checked, as_json=as_json, debug=debug)
            if code:
                raise Exit(code=code)

        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = inspect.Signature([context, *(o.parameter for o in every)])  # type: ignore[attr-defined]
        made: Task[Any] = task(
            name=run.__name__.replace("_", "-"),  # as it is typed
            positional=[o.name for o in options if o.default is None],
            iterable=[o.name for o in options if o.default == []],
            help={o.name: o.help for o in every},
            auto_shortflags=False,
        )(run)
        made.options = options  # type: ignore[attr-defined]
        return made

    return decorate


def carry_out(body: Callable[[], Outcome], *, as_json: bool, debug: bool) -> int:
    """Run a verb's body, print what came of it, return the exit code."""
    from gpulab.common.console import console, talk_on_stderr
    from gpulab.runs.recover import sweep

    if as_json:
        talk_on_stderr()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing half made stays behind
    try:
        for line in sweep():
            console.print(f"[yellow]cleaned up[/] {line}")
        outcome = body()
    except UsageError as error:
        outcome = Outcome(failures=list(error.failures), code=2)
    except KeyboardInterrupt:
        outcome = Outcome(failures=["interrupted"], code=130)
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename:
            cure = "make it writable and free space there; GPULAB_RUNS=FOLDER moves the runs alone"
            outcome = Outcome(failures=[Failure(f"{error.filename}: {error.strerror}", cure)], code=2)
        else:
            cure = "" if debug else "this is a bug in the lab: run again with --debug and report it"
            outcome = Outcome(failures=[Failure(redact.text(f"{type(error).__name__}: {error}"), cure)], code=1)
    failures = [f if isinstance(f, Failure) else Failure(f) for f in outcome.failures]
    code = outcome.code if outcome.code is not None else int(bool(failures))
    if as_json:
        told: dict[str, Any] = {"failures": [str(f) for f in failures], "details": [f.as_dict() for f in failures]}
        if len(failures) == 1 and failures[0].cure:
            told["cure"] = failures[0].cure
        print(json.dumps({"ok": code == 0, **told, **outcome.data}, default=str))
        return code
    if outcome.text is not None:
        console.print(outcome.text)
    if failures and outcome.told:
        failures = [Failure(f"{len(failures)} failure{'s' * (len(failures) > 1)}, shown above with the cure")]
    for failure in failures:
        print(wrapped(f"error: {failure.line}"), file=sys.stderr)
        if failure.cure:
            print(f"  cure: {failure.cure}", file=sys.stderr)
    return code


def wrapped(line: str) -> str:
    """A failure's line, broken between words where people read it in a terminal: at 100 columns, which eyes follow."""
    if not sys.stderr.isatty():
        return line
    width = min(shutil.get_terminal_size().columns, WIDEST)
    fill = textwrap.TextWrapper(width, subsequent_indent=" " * 7, break_long_words=False, break_on_hyphens=False).fill
    return "\n".join(fill(part) for part in line.split("\n"))
