"""Which tests run in one process when several do (`pytest -n 4`), in what order, and whose the testbed's engine is."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from xdist.scheduler import LoadScopeScheduling

from gpulab.images.base import OWN
from gpulab.images.build_context import python
from gpulab.stacks.stack import load_stack
from tests.testbed import engine
from tests.testbed.pythons import base_name
from tests.wait import wait_until

# Files here stand alone. Those of other folders share something: hosts, an image, an engine, this machine's ports.
ALONE = (Path("tests/unit"), Path("tests/testbed"), Path("tests/labs/catalogue"))
IMAGES = Path("tests/images")
SECONDS: dict[str, int] = yaml.safe_load(Path(__file__).with_name("seconds.yml").read_text())
UNKNOWN = 60
# As ./inv does, for a pytest that it did not start: of this process, and of those that tests start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A thread of torch's that waits for another spins, unless told not to: with more processes than processors, as here, a
# step of two threads takes many times the processor time. What is computed is the same.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# The base is a part of an image's tag: every test means cpu's image on the testbed's base.
os.environ.setdefault(OWN, base_name(python(load_stack("cpu"))))
WAS_UP = pytest.StashKey[bool]()


def group(nodeid: str) -> str:
    """The tests that share something with this one."""
    file = Path(nodeid.partition("::")[0])
    if file.is_relative_to(IMAGES):
        return str(IMAGES)
    return str(file if file.parent in ALONE else file.parent)


class Together(LoadScopeScheduling):
    """A group's tests run one after the other, in one process; the longest of the groups that are left begins first."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        longest = max(self.workqueue, key=lambda name: SECONDS.get(name, UNKNOWN))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)

    def _reschedule(self, node: Any) -> None:
        """A process holds its last test back until it knows which comes next: then, and not sooner, it is told."""
        if not self.workqueue or self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return Together(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What seconds.yml should say."""
    if config.getoption("dist", "no") != "loadscope":
        return
    took: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[group(report.nodeid)] += report.duration
    terminalreporter.section("seconds of each group")
    for name, seconds in took.most_common():
        terminalreporter.line(f"{name}: {seconds:.0f}")


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # it is the whole run's, not one process's
        session.config.stash[WAS_UP] = engine.is_up()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The testbed's engine ends with the tests that started it, unless hosts are left for a look."""
    if session.config.stash.get(WAS_UP, True) or os.environ.get("GPULAB_TESTBED_KEEP") or not engine.is_up():
        return
    with suppress(TimeoutError):  # after Ctrl-C the others are still taking their hosts down
        wait_until(lambda: not engine.has_hosts(), "no hosts", 60)
    engine.stop()
