"""Which tests run in one process when several do (`pytest -n 2`), in what order, and whose the testbed's engine is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from gpulab.images.base import OWN
from gpulab.images.build_context import python
from gpulab.stacks.stack import load_stack
from tests.testbed import engine
from tests.testbed.pythons import base_name
from tests.wait import wait_until

# Files here stand alone. Those of other folders share something: hosts, an image, an engine, this machine's ports.
ALONE = (Path("tests/unit"), Path("tests/testbed"))
IMAGES = Path("tests/images")
# The base is a part of an image's tag: every test means cpu's image on the testbed's base.
os.environ.setdefault(OWN, base_name(python(load_stack("cpu"))))
WAS_UP = pytest.StashKey[bool]()


class Together(LoadScopeScheduling):
    """Tests that share something run one after the other, in one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        if file.is_relative_to(IMAGES):
            return str(IMAGES)
        return str(file if file.parent in ALONE else file.parent)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return Together(config, log) if config.getoption("dist") == "loadscope" else None


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
