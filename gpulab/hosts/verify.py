"""`inv verify`: every role's promise tried on every host over ssh; JUnit, one JSON, and a table host x check."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gpulab.common.console import console
from gpulab.common.failure import Failure
from gpulab.common.outcome import Outcome
from gpulab.common.paths import ROOT, shown
from gpulab.hosts.ansible import environment
from gpulab.hosts.inventory import Host, inventory_path, load_hosts
from gpulab.hosts.play import REPORTS
from gpulab.hosts.ssh import ask

CHECKS = ROOT / "tests" / "hosts"
SIGNS = {
    "passed": "[green]ok[/]",
    "failed": "[red]FAIL[/]",
    "error": "[red]ERROR[/]",
    "skipped": "[dim]-[/]",
    "untried": "[yellow]not tried[/]",
}
UNTRIED = "not tried: "
# Much of what was promised only root can see, and testinfra can't give a password.
ROOT_WITHOUT_ASKING = "test $(id -u) = 0 || sudo -n true"
EVERYONE = "all hosts"
"""Where a check across hosts stands in the table."""


@dataclass(frozen=True)
class Result:
    """One check on one host."""

    host: str
    check: str
    state: str
    """passed, failed, error, skipped, or untried: what its evidence names failed before."""
    seconds: float
    evidence: str = ""
    cure: str = ""


def verify(hosts: str, *, limit: str, only: str) -> Outcome:
    """Try the promises on all hosts at once. Exit 1 where one does not hold; its line names the cure.

    Raises UsageError for mistakes in the inventory.
    """
    chosen = load_hosts(hosts, limit)
    answers = ask(chosen, lambda _: ["sh", "-c", ROOT_WITHOUT_ASKING], deadline=20, inventory=hosts)
    silent = {name: answer for name, answer in answers.items() if answer.problem}
    there = [host for host in chosen if host.name not in silent]
    failures = [answer.failure(name) for name, answer in silent.items()]
    folder = REPORTS / f"verify-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
    folder.mkdir(parents=True)
    began = time.monotonic()
    results = try_promises(there, inventory_path(hosts), folder, only) if there else []
    seconds = round(time.monotonic() - began, 1)
    if there and not results:
        cure = f"--only {only}: say a part of a check's name, such as nvidia_driver" if only else ""
        failures.append(Failure(f"no check was carried out, see {shown(folder / 'pytest.log')}", cure))
    failures += [Failure(f"{r.check}: {r.evidence}", cure_of(r, hosts), r.host) for r in bad(results)]
    failures += unexplained(results)
    data = {
        "hosts": [host.name for host in there], "silent": sorted(silent), "seconds": seconds,
        "results": [vars(result) for result in results], "junit": str(folder / "junit.xml"),
    }  # fmt: skip
    (folder / "verify.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    table = text(results, [h.name for h in there], seconds, folder) if results else None
    return Outcome(data, failures=failures, text=table)


def bad(results: Sequence[Result]) -> list[Result]:
    """Those that do not hold."""
    return [result for result in results if result.state in ("failed", "error")]


def cure_of(result: Result, hosts: str) -> str:
    """What helps, in words that can be copied: with the host and the inventory."""
    return result.cure.replace("HOST", result.host).replace("gpus.ini", shlex.quote(hosts))


def unexplained(results: Sequence[Result]) -> list[Failure]:
    """Checks that were not tried because of one that is not among the failures: --only left it out."""
    said = {(r.host, r.check) for r in bad(results)}
    left: dict[tuple[str, str], int] = {}
    for result in results:
        cause = result.evidence.removeprefix(UNTRIED).partition(" failed")[0]
        if result.state == "untried" and result.host != EVERYONE and (result.host, cause) not in said:
            left[result.host, cause] = left.get((result.host, cause), 0) + 1
    return [
        Failure(f"not tried, since {cause} failed: {count}", f"./inv verify --only {cause.split('.')[0]}", host)
        for (host, cause), count in left.items()
    ]


def try_promises(hosts: Sequence[Host], inventory: Path, folder: Path, only: str) -> list[Result]:
    """Run tests/hosts with parallel workers; what JUnit says came of it."""
    junit, log = folder / "junit.xml", folder / "pytest.log"
    # A worker spends its time waiting for ssh; more than one per processor is right, up to what sshd lets in at once.
    # It takes a second or two of a processor to start, longer than a few chosen checks.
    workers = min((1 if only else 2) * len(hosts), 8, 3 * (os.cpu_count() or 1))
    argv = [
        sys.executable, "-m", "pytest", str(CHECKS), "--quiet", "--tb=short", "-p", "no:cacheprovider",
        f"--hosts={','.join(f'ansible://{host.name}' for host in hosts)}", f"--ansible-inventory={inventory}",
        f"--junitxml={junit}", "-o", "junit_family=xunit1", "-n", str(workers),
    ]  # fmt: skip
    argv += ["-k", only] if only else []
    console.print(f"checking {len(hosts)} hosts with {workers} workers ...")
    with log.open("w", encoding="utf-8") as out:
        subprocess.run(argv, cwd=ROOT, env=environment(), stdout=out, stderr=subprocess.STDOUT, check=False)
    return read_junit(junit, [host.name for host in hosts]) if junit.is_file() else []


def read_junit(path: Path, hosts: Sequence[str]) -> list[Result]:
    """The results in a JUnit file of tests/hosts, by check and host."""
    results = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):  # noqa: S314 (pytest wrote it a moment ago)
        told = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
        name = case.get("name", "")
        state, evidence = "passed", ""
        for kind, word in (("failure", "failed"), ("error", "error"), ("skipped", "skipped")):
            found = case.find(kind)
            if found is not None:
                state, evidence = word, shortened(found.get("message", ""))
        if state == "skipped" and evidence.startswith(UNTRIED):
            state = "untried"
        check = told.get("check") or name.partition("[")[0]
        seconds = float(case.get("time", 0))
        results.append(Result(host_of(name, hosts), check, state, seconds, evidence, told.get("cure", "")))
    return sorted(results, key=lambda r: (r.check, r.host))


def host_of(case: str, hosts: Sequence[str]) -> str:
    """The host in a test's name, such as `test_it[ansible://gpu-1-/tmp]`: dashes are both in names and between them."""
    longest_first = "|".join(re.escape(name) for name in sorted(hosts, key=len, reverse=True))
    found = re.search(rf"ansible://({longest_first})(?=[-\]])", case)
    return found[1] if found else EVERYONE


def shortened(message: str) -> str:
    """An assertion's first line, without Python around it."""
    first = next((line for line in message.strip().splitlines() if line.strip()), "")
    first = first.removeprefix('failed on setup with "')
    return first.removeprefix("AssertionError: ").removeprefix("assert ")[:300]


def text(results: Sequence[Result], hosts: Sequence[str], seconds: float, folder: Path) -> RenderableType:
    """For people: a row for every check, a column for every host."""
    columns = [*hosts, *([EVERYONE] if any(r.host == EVERYONE for r in results) else [])]
    grid = Table(box=None, pad_edge=False)
    for title in ("check", *columns):
        grid.add_column(title, no_wrap=True)
    states: dict[str, dict[str, str]] = {}
    for result in results:
        row = states.setdefault(result.check, {})
        worst = max(
            row.get(result.host, "skipped"), result.state, key=["skipped", "passed", "untried", "failed", "error"].index
        )
        row[result.host] = worst
    for check, row in states.items():
        grid.add_row(check, *(SIGNS.get(row.get(host, ""), "") for host in columns))
    held = sum(result.state == "passed" for result in results)
    skipped = sum(result.state == "skipped" for result in results)
    untried = sum(result.state == "untried" for result in results)
    rest = f", {untried} were not tried" if untried else ""
    line = f"\n{held} hold, {len(bad(results))} do not{rest}, {skipped} do not apply; "
    line += f"{seconds:.1f} s, all in {shown(folder)}"
    return Group(grid, Text(line))
