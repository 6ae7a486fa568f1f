"""tests/conftest.py: which groups of tests run side by side, and in what order."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import SECONDS, UNKNOWN, Together, group

ROOT = Path(__file__).resolve().parents[2]
SHORT, LONG, LONGEST = sorted(SECONDS, key=lambda name: SECONDS[name])[-3:]
NEW = "tests/unit/test_that_is_new.py"


class Process:
    """One of pytest-xdist's, as the scheduler sees it: the tests that it was sent."""

    shutting_down = False
    gateway = SimpleNamespace(id="gw")

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def of_group(name: str, count: int) -> list[str]:
    """Names of tests of a group."""
    return [f"{name if name.endswith('.py') else f'{name}/test_x.py'}::test_{n}" for n in range(count)]


@pytest.fixture
def started() -> tuple[Any, Process, Process, list[str]]:
    """Two processes that have got their first group."""
    tests = [*of_group(SHORT, 3), *of_group(NEW, 2), *of_group(LONGEST, 3), *of_group(LONG, 2)]
    config: Any = SimpleNamespace(getvalue=lambda _: ["2*popen"], option=SimpleNamespace(loadscopereorder=False))
    schedule, one, two = Together(config), Process(), Process()
    for process in (one, two):
        schedule.add_node(process)  # type: ignore[arg-type]
        schedule.add_node_collection(process, tests)  # type: ignore[arg-type]
    schedule.schedule()
    return schedule, one, two, tests


def test_the_longest_groups_begin_first_each_whole_in_one_process(started):
    _, one, two, tests = started
    assert [tests[n] for n in one.sent] == of_group(LONGEST, 3)
    assert [tests[n] for n in two.sent] == of_group(LONG, 2)


def test_the_next_group_is_given_to_who_has_one_test_left(started):
    schedule, one, two, tests = started
    schedule.mark_test_complete(one, one.sent[0])
    assert len(one.sent) == 3, "it has two left"
    schedule.mark_test_complete(two, two.sent[0])
    following = max((SHORT, NEW), key=lambda name: SECONDS.get(name, UNKNOWN))
    assert {group(tests[n]) for n in two.sent[2:]} == {following}


def test_every_group_whose_seconds_are_known_is_one_of_the_suite():
    for name in SECONDS:
        files = [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("test_*.py"))
        assert all(file.is_file() for file in files)
        groups = {group(f"{file.relative_to(ROOT)}::test_x") for file in files}
        assert name in groups, f"{name} has no tests"
        assert groups <= {*SECONDS}, "a folder in it is a group of its own"


def test_every_group_of_labs_and_of_hosts_says_how_long_it_takes() -> None:
    """One that does not counts as short, begins last, and all wait for it."""
    files = [file for folder in ("labs", "testbed") for file in (ROOT / "tests" / folder).rglob("test_*.py")]
    groups = {group(str(file.relative_to(ROOT))) for file in files}
    assert groups - set(SECONDS) == set()
