"""The verbs for who works on the lab itself: stacks, locks, tests, hosts to try on."""

from __future__ import annotations

from typing import Any

from gpulab.common.outcome import Outcome
from gpulab.verbs.options import Option, flag
from gpulab.verbs.verb import verb


@verb(
    Option("stack", "one stack, with its pins", to="name", by_place=True),
    Option("install", "make this stack's local venv"),
    Option("why", "A,B: why these stacks can't be one"),
)
def stacks(why: str, **options: Any) -> Outcome:
    """List the stacks: Python, torch, whether the local venv is made."""
    from gpulab.reports.stacks import list_stacks
    from gpulab.stacks.locks import why_not_together

    return why_not_together(why) if why else list_stacks(**options)


@verb(
    Option("stack", "one stack, or `control` (the lab's own tools); default: all", to="name", by_place=True),
    flag("check", "write nothing: is each lock what its pins resolve to, and what would an upgrade change?"),
    flag("upgrade", "take the newest versions that the pins allow"),
)
def lock(**options: Any) -> Outcome:
    """Make the hashed locks from the pins, or check them.

    The pins are in docker/stacks.yml and pyproject.toml.
    """
    from gpulab.stacks.locks import make_locks

    return make_locks(**options)


@verb()
def lint() -> Outcome:
    """Check format, style, types, YAML and shell."""
    from gpulab.verbs.quality import run_lint

    return run_lint()


@verb(
    flag("fast", "leave out what runs the real ms-swift or real hosts"),
    Option("match", "only tests whose name matches (pytest -k)"),
)
def test(**options: Any) -> Outcome:
    """Run lint and the test suite.

    Lint, unit tests, the rehearsals for real, the roles on real hosts.
    """
    from gpulab.verbs.quality import run_tests

    return run_tests(**options)


@verb(
    Option("up", "how many hosts"),
    flag("down", "take them down"),
    flag("shared", "they share /srv/gpulab, as labs on many nodes need it"),
    flag("controller", "one host more, for Slurm's controller; the others are its nodes"),
    Option("name", "testbeds of other names stay", default="dev"),
)
def testbed(**options: Any) -> Outcome:
    """Make real hosts on this machine to try things on.

    systemd, ssh, stand-in GPUs.
    """
    from gpulab.hosts.testbed import testbed

    return testbed(**options)
