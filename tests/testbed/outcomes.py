"""pytest plugin for the scenarios: each check's outcome on each host, as one JSON object (TESTBED_OUTCOMES)."""

import json
import os
from pathlib import Path

import pytest

outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    name = dict(report.user_properties).get("check", report.nodeid)
    host = report.nodeid.partition("ansible://")[2].rstrip("]").split("-")[0] or "all"
    if report.when == "call" or not report.passed:
        key = f"{name}@{host}"
        # One check may have several parameters: the worst counts.
        if outcomes.get(key) != "failed":
            outcomes[key] = "failed" if report.failed else report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        Path(os.environ["TESTBED_OUTCOMES"]).write_text(json.dumps(outcomes))


def failed(outcomes: dict[str, str]) -> set[str]:
    """The checks of such an object that failed."""
    return {check for check, outcome in outcomes.items() if outcome == "failed"}
