"""Every verb, a table of contents: the logic is in gpulab/. `inv --list` shows them, `inv --help VERB` explains one."""

from __future__ import annotations

from gpulab.verb import Outcome, verb


@verb(
    positional=["name"],
    iterable=["set"],
    help={
        "name": "the lab's folder: `quickstart` or `start/quickstart`",
        "rehearse": "on the CPU with a tiny twin, even where there is a GPU",
        "dry": "print the plan as a shell script and run nothing",
        "set": "step.key=value: a flag for one step's command; may be given again",
        "keep-serving": "leave the last server up when all is done, until Ctrl-C",
        "hub": "where real models come from: modelscope or hf",
    },
)
def lab(
    name: str,
    rehearse: bool = False,
    dry: bool = False,
    set: list[str] | None = None,
    keep_serving: bool = False,
    hub: str = "modelscope",
) -> Outcome:
    """Run a lab: on the GPUs it needs, else rehearsed on the CPU with the real ms-swift."""
    from gpulab.labrun import run_lab

    return run_lab(name, rehearse=rehearse, dry=dry, settings=set or [], keep_serving=keep_serving, hub=hub)


@verb()
def labs() -> Outcome:
    """List the labs: what they need, whether they can run here, how the last run ended."""
    from gpulab.listings import list_labs

    return list_labs()


@verb(help={"lab": "only this lab's runs", "limit": "how many, newest first"})
def runs(lab: str = "", limit: int = 20) -> Outcome:
    """List the runs on record, newest first."""
    from gpulab.listings import list_runs

    return list_runs(lab, limit)


@verb(positional=["run"], help={"run": "`last`, a lab's name (its last run), or a run as `inv runs` prints it"})
def show(run: str) -> Outcome:
    """Show one run: steps, figures, proofs with their evidence, how to reproduce it."""
    from gpulab.listings import show_run

    return show_run(run)


@verb(help={"install": "make this stack's local venv", "why": "A,B: why these stacks can't be one"})
def stacks(install: str = "", why: str = "") -> Outcome:
    """List the stacks with their pins and local venvs."""
    from gpulab.listings import list_stacks
    from gpulab.locks import why_not_together

    return why_not_together(why) if why else list_stacks(install)


@verb(
    help={
        "stack": "one stack, or `control` (the lab's own tools); default: all",
        "check": "write nothing: is each lock what its pins resolve to, and what would an upgrade change?",
        "upgrade": "take the newest versions that the pins allow",
    }
)
def lock(stack: str = "", check: bool = False, upgrade: bool = False) -> Outcome:
    """Make the hashed locks from docker/stacks.yml and pyproject.toml, or check them."""
    from gpulab.locks import make_locks

    return make_locks(stack, check=check, upgrade=upgrade)


@verb(help={"fast": "leave out what runs the real ms-swift", "match": "only tests whose name matches (pytest -k)"})
def test(fast: bool = False, match: str = "") -> Outcome:
    """Run the test suite: lint, unit tests, the rehearsals for real."""
    from gpulab.quality import run_tests

    return run_tests(fast=fast, match=match)


@verb()
def lint() -> Outcome:
    """Check format, style, types, YAML and shell."""
    from gpulab.quality import run_lint

    return run_lint()
