"""`inv lint` and `inv test`: the checkers of pyproject.toml, one after another."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import ROOT

BIN = Path(sys.executable).parent
AT_ONCE = "4"  # groups of tests (tests/conftest.py): those of hosts mostly wait
SLOWEST = "30"  # tests whose seconds are told at the end


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
    """All checkers, side by side; each one's own words where it finds something."""

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    results: dict[str, bool] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ended = {name: pool.submit(run, command) for name, command in checkers().items()}
        for name, future in ended.items():
            done = future.result()
            results[name] = done.returncode == 0
            console.print(f"{'[green]✓[/]' if results[name] else '[red]✗[/]'} {name}")
            if not results[name]:
                console.print((done.stdout + done.stderr).rstrip(), markup=False)
    failed = [name for name, ok in results.items() if not ok]
    return Outcome({"checks": results}, failures=[f"{name} found problems, see above" for name in failed])


def run_tests(*, fast: bool, match: str) -> Outcome:
    """Lint, then pytest (the longest groups of tests first). Raises UsageError when nothing matches."""
    lint = Outcome() if match else run_lint()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    command += [] if match else ["-n", AT_ONCE, "--dist", "loadscope", "--no-loadscope-reorder", "--durations", SLOWEST]
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
