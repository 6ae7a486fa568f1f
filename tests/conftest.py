"""Which tests belong together when several run at a time (`pytest -n 2 --dist loadgroup`), and whose the engine is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testbed import engine

TESTS = Path(__file__).parent
# What the tests of several files stand on: hosts, one image, this machine's ports.
HOSTS = ("hosts", "slurm_ground", "nodes")
FOLDERS = ("images", "labs")
WAS_UP = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))


def group(item: pytest.Item) -> str:
    """The tests of one name run in one process, in their order."""
    shared = [fixture for fixture in HOSTS if fixture in getattr(item, "fixturenames", ())]
    path = item.path.relative_to(TESTS)
    return next(iter(shared), path.parts[0] if path.parts[0] in FOLDERS else str(path))


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[WAS_UP] = engine.is_up()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The testbed's engine ends with the tests that started it, unless hosts are left for a look."""
    one_of_several = hasattr(session.config, "workerinput")
    if one_of_several or session.config.stash[WAS_UP] or not engine.is_up():
        return
    if not engine.docker("ps", "-q", "--filter", "label=testbed").stdout:
        engine.stop()
