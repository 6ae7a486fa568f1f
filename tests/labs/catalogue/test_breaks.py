"""Each lab's first break is seen."""

from __future__ import annotations

from typing import Any

import pytest

from gpulab.lab.lab import Lab
from tests.labs.catalogue.rehearsed import CATALOGUE, break_is_seen

pytestmark = [pytest.mark.rehearsal, pytest.mark.usefixtures("shared")]


@pytest.mark.parametrize("tried", [lab for lab in CATALOGUE if lab.breaks], ids=lambda tried: tried.name)
def test_a_labs_first_break_is_seen_by_the_proof_that_it_names(lab: Any, tried: Lab) -> None:
    break_is_seen(lab, tried)
