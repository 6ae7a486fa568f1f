"""Labs of the stacks for pictures and for quantization prove themselves, and their first break is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from gpulab.lab.lab import Lab
from tests.labs.catalogue.rehearsed import OWN_STACKS, break_is_seen, proves_itself
from tests.labs.conftest import warm_process

pytestmark = pytest.mark.rehearsal


@pytest.fixture(scope="module")
def warm_in() -> Iterator[Callable[[str], dict[str, str]]]:
    """The warm process of each stack, made when it is first asked for."""
    with ExitStack() as running:
        yield cache(lambda stack: running.enter_context(warm_process(stack)))


@pytest.fixture(autouse=True)
def shared(tried: Lab, warm_in: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in warm_in(tried.rehearse.stack).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("tried", OWN_STACKS, ids=lambda tried: tried.name)
def test_a_lab_proves_itself(lab: Any, tried: Lab) -> None:
    proves_itself(lab, tried)


@pytest.mark.parametrize("tried", [lab for lab in OWN_STACKS if lab.breaks], ids=lambda tried: tried.name)
def test_a_labs_first_break_is_seen_by_the_proof_that_it_names(lab: Any, tried: Lab) -> None:
    break_is_seen(lab, tried)
