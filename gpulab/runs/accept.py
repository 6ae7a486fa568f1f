"""`inv accept`: the lab hosts/acceptance on every host, and what it measured as a report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.text import Text

from gpulab.common.errors import UsageError, nearest
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.hosts.inventory import load_hosts
from gpulab.reports import acceptance
from gpulab.runs.execute import run_lab
from gpulab.runs.request import LabRequest

LAB, STEP = "hosts/acceptance", "measure"
LEVELS = {"quick": 10, "standard": 300, "burn-in": 3600}  # seconds of arithmetic on every device


def accept(hosts: str, limit: str, engine: str, level: str, rehearse: bool) -> Outcome:
    """Measure this machine, or all hosts of an inventory together. Raises UsageError before anything is started."""
    if level not in LEVELS:
        raise UsageError(f"no level {level!r}", nearest(level, list(LEVELS)))
    nodes = len(load_hosts(hosts, limit)) if hosts else 1
    settings = [f"{STEP}.seconds={LEVELS[level]}"]
    outcome = run_lab(
        LabRequest(LAB, rehearse=rehearse, hosts=hosts, limit=limit, engine=engine, nodes=nodes, settings=settings)
    )
    folder = Path(outcome.data["folder"])
    if not (folder / STEP / "machines").is_dir():  # it did not come so far
        return outcome
    outcome.data["hosts"], page = acceptance.write(folder / STEP, folder)
    report = Text(f"for the purchase file: {shown(folder / 'acceptance.html')}, acceptance.json")
    outcome.text = Group(outcome.text, page, report)
    return outcome
