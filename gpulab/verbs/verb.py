"""What makes a Python function a verb: `--json`, `--debug`, exit codes 0/1/2, errors in one or two lines."""

from __future__ import annotations

import functools
import inspect
import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from invoke.exceptions import Exit
from invoke.tasks import Task, task

from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome

HELP = {"json": "print one JSON object on standard output", "debug": "show tracebacks"}


def verb(
    positional: Sequence[str] = (),
    iterable: Sequence[str] = (),
    help: dict[str, str] | None = None,
) -> Callable[[Callable[..., Outcome]], Task[Any]]:
    """Make an invoke task of a function that takes plain values and returns an Outcome.

    No short flags: `--hosts` would become `-h`.
    """

    def decorate(body: Callable[..., Outcome]) -> Task[Any]:
        @functools.wraps(body)
        def run(_context: Any, **options: Any) -> None:
            as_json, debug = options.pop("json"), options.pop("debug")
            code = carry_out(functools.partial(body, **options), as_json=as_json, debug=debug)
            if code:
                raise Exit(code=code)

        flags = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False) for n in HELP]
        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        own = list(inspect.signature(body).parameters.values())
        run.__signature__ = inspect.Signature([context, *own, *flags])  # type: ignore[attr-defined]
        made: Task[Any] = task(
            positional=list(positional), iterable=list(iterable), help={**(help or {}), **HELP}, auto_shortflags=False
        )(run)
        return made

    return decorate


def carry_out(body: Callable[[], Outcome], *, as_json: bool, debug: bool) -> int:
    """Run a verb's body, print what came of it, return the exit code."""
    from gpulab.common.console import console, talk_on_stderr
    from gpulab.runs.recover import sweep

    if as_json:
        talk_on_stderr()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing half made stays behind
    cure = ""
    try:
        for line in sweep():
            console.print(f"[yellow]cleaned up[/] {line}")
        outcome = body()
    except UsageError as error:
        outcome, cure = Outcome(failures=[error.message], code=2), error.cure
    except KeyboardInterrupt:
        outcome = Outcome(failures=["interrupted"], code=130)
    except Exception as error:
        if debug:
            traceback.print_exc()
        outcome = Outcome(failures=[f"{type(error).__name__}: {error}"], code=1)
        cure = "" if debug else "this is a bug in the lab: run again with --debug and report it"
    code = outcome.code if outcome.code is not None else int(bool(outcome.failures))
    if as_json:
        extra = {"cure": cure} if cure else {}
        print(json.dumps({"ok": code == 0, "failures": outcome.failures, **extra, **outcome.data}, default=str))
    else:
        if outcome.text is not None:
            console.print(outcome.text)
        for failure in outcome.failures:
            print(f"error: {failure}", file=sys.stderr)
        if cure:
            print(f"  cure: {cure}", file=sys.stderr)
    return code
