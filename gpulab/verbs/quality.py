"""`inv lint` and `inv test`: the checkers of pyproject.toml, one after another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import ROOT

BIN = Path(sys.executable).parent
AT_ONCE = "2"  # groups of tests (tests/conftest.py): those of hosts mostly wait


def checkers() -> dict[str, list[str]]:
    """Every checker's command line by name."""
    of_roles = [f for f in (ROOT / "ansible" / "roles").glob("*/files/*") if not f.suffix]
    shell = (ROOT / "gpulab").rglob("*.sh")
    scripts = [str(f) for f in (ROOT / "inv", ROOT / ".ci" / "run", ROOT / "docker" / "install", *of_roles, *shell)]
    return {
        "ruff check": [str(BIN / "ruff"), "check", "."],
        "ruff format": [str(BIN / "ruff"), "format", "--check", "."],
        "mypy": [sys.executable, "-m", "mypy"],
        "import-linter": [str(BIN / "lint-imports"), "--no-cache"],
        "yamllint": [sys.executable, "-m", "yamllint", "--strict", "."],
        "ansible-lint": [str(BIN / "ansible-lint"), "--offline", "-q", "--profile", "production", "ansible"],
        "shellcheck": [str(BIN / "shellcheck"), *scripts],
    }


def run_lint() -> Outcome:
    """All checkers; each one's own words where it finds something."""
    results: dict[str, bool] = {}
    for name, command in checkers().items():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        results[name] = done.returncode == 0
        console.print(f"{'[green]✓[/]' if results[name] else '[red]✗[/]'} {name}")
        if not results[name]:
            console.print((done.stdout + done.stderr).rstrip(), markup=False)
    failed = [name for name, ok in results.items() if not ok]
    return Outcome({"checks": results}, failures=[f"{name} found something" for name in failed])


def run_tests(*, fast: bool, match: str) -> Outcome:
    """Lint, then pytest (fast tests first, real hosts last). Raises UsageError when nothing matches."""
    lint = Outcome() if match else run_lint()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    command += [] if match else ["-n", AT_ONCE, "--dist", "loadscope", "--no-loadscope-reorder"]
    command += ["-m", "not rehearsal and not testbed"] if fast else []
    command += ["-k", match] if match else []
    with subprocess.Popen(command, cwd=ROOT, stdout=console.file) as pytest:
        try:
            code = pytest.wait()
        except KeyboardInterrupt:
            pytest.wait()  # it heard it, too, and takes its hosts down
            raise
    if code == 5:
        raise UsageError(f"no test matches {match!r}", "see pytest's -k")
    failures = [*lint.failures, *(["pytest found failures, see above"] if code else [])]
    return Outcome({"lint": lint.data.get("checks", {}), "pytest": code}, failures=failures)
